SELECT 1; -- 0003 takes the constraint away
