"""Messages between devices: keys, mailboxes, groups, contacts, the stream and push."""
