-- Meter values that carry a signed text are marked when they are written, whatever they are wrapped in.

ALTER TABLE journal ADD COLUMN signed INTEGER NOT NULL DEFAULT 0;

UPDATE journal SET signed = 1 WHERE action = 'MeterValues' AND (
  instr(frame, 'SignedData') OR instr(frame, 'signedMeter') OR instr(frame, 'OCMF|') OR instr(frame, '"AP')
);

DROP INDEX journal_prunable;
CREATE INDEX journal_prunable ON journal (entry)
  WHERE action = 'MeterValues' AND state IN ('done', 'local') AND signed = 0;
