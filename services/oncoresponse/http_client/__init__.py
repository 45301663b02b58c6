"""What this installation needs to call HTTP servers of others: logins, and limits that hold whatever they answer."""
