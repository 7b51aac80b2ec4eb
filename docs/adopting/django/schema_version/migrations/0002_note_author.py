from django.db import migrations


class Migration(migrations.Migration):
    """Schema 2: a note has an author."""

    dependencies = [("schema_version", "0001_notes"), ("notes", "0002_note_author")]
