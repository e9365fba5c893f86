"""The stored records as tables: SQL over what is packed and what is not yet, and exports of it."""
