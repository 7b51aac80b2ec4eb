from django.db import migrations


class Migration(migrations.Migration):
    """Schema 1: there are notes."""

    dependencies = [("notes", "0001_initial")]
