ALTER TABLE invoices RENAME COLUMN total TO amount;
