-- Whose a message is, NULL: nobody's, or not known; the checkpoint with which its exchange was over. A claim of 0
-- that is open waits for the end of its exchange.
ALTER TABLE checkpoint_claims ADD COLUMN user_id TEXT;
ALTER TABLE checkpoint_claims ADD COLUMN checkpoint_id BLOB;
CREATE INDEX checkpoint_claims_open ON checkpoint_claims (thread, claim) WHERE open = 1;
