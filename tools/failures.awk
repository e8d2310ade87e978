# Prints the reports of failed tests in the output of a test runner, without backtraces, at most 60 lines each.
#   ---- NAME stdout ----  to the next one, from its panic message   (cargo, wasm-bindgen)
#   _____ NAME _____  to the next one                                (pytest)

{ gsub(/\033\[[0-9;]*m/, "") }

/^---- .* stdout ----$/ { name = $2; panicked = 0; lines = 0; print "---- " name; next }
/^___+ .* ___+$/ { name = $2; panicked = 1; lines = 0; print "---- " name; next }
/^(failures:|test result: |=+ )/ { name = "" }
/^thread '.*' (\([0-9]+\) )?panicked at / { panicked = 1 }
/^ +[0-9]+: |^ +at |^stack backtrace:|^note: (Some details are omitted|run with)/ { next }

name != "" && panicked && NF && lines++ < 60 { print "  " $0 }
