"""All texts of reports, a module a language."""
