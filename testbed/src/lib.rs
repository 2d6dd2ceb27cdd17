//! Private RabbitMQ and PostgreSQL servers, and the faults between.
