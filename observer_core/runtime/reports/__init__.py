"""What a day, a week or a control came to: figures from records alone, in words, tables and charts."""
