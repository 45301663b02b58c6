-- Whose studies an order is for where an installation serves several tenants; empty for all, and for earlier releases.
ALTER TABLE imaging_order ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
CREATE INDEX imaging_order_by_tenant ON imaging_order (tenant, create_time_ns, order_id);
