-- Tables have the names of what is in them.
ALTER TABLE todo RENAME TO work_item;
ALTER TABLE outgoing RENAME TO outgoing_mail;
