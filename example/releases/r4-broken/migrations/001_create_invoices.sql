CREATE TABLE invoices (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer text   NOT NULL,
  total    bigint NOT NULL
);
