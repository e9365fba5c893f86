"""What every part agrees on: records, their bytes, ids, time, errors, the stage contract."""
