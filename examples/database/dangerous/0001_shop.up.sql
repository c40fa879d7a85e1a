SELECT 1; -- what is there already
