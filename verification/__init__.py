"""Is this number yours? Verification sessions, codes, and registration with what they prove."""
