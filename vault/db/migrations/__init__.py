"""Migrations, inside the package: a vault installed from a wheel can bring its own database up to date."""
