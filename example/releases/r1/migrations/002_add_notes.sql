ALTER TABLE invoices ADD COLUMN notes text;
