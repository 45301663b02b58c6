"""What speaks another protocol than gRPC to the outside: clients of the front door."""
