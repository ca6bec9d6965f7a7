//! Background reconcilers and their supervisor.
