-- What the saver's key made of a row, NULL without one; the content hash is over it where it is there.
ALTER TABLE checkpoints ADD COLUMN mark BLOB;
ALTER TABLE checkpoint_writes ADD COLUMN mark BLOB;
