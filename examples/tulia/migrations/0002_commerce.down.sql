DROP TABLE withdrawals;
DROP TABLE appointments;
DROP TABLE order_items;
DROP TABLE orders;
DROP TABLE services;
DROP TABLE customers;
