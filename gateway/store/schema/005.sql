-- A house that was off for months: the nearest reading beside its gap is found without looking at every row in it.

CREATE INDEX interval_read ON interval (k) WHERE instr(boundary, ':{') > 0;  -- at least one meter was read at its start
