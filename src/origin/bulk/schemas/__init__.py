"""What requests and answers of bulk orders look like (contract: v2, Bulk transfers and retirements)."""
