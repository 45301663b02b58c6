"""Generated from protos/oncoresponse/stages/v1 by `make stubs`."""
