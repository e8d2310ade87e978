# Sums the results of the test runners whose output is on standard input. Prints `PASSED FAILED SKIPPED`.
#   test result: ok. 8 passed; 0 failed; 1 ignored; …    (cargo, wasm-bindgen)
#   ==== 3 passed, 1 skipped in 1.20s ====               (pytest)

{ gsub(/\033\[[0-9;]*m/, "") }

/^test result: / || /^=+ .*(passed|failed|error|skipped).* in [0-9.]+s/ {
    for (i = 2; i <= NF; i++) {
        word = $i
        sub(/[;,]$/, "", word)
        if (word == "passed") passed += $(i - 1)
        if (word == "failed" || word == "error" || word == "errors") failed += $(i - 1)
        if (word == "ignored" || word == "skipped") skipped += $(i - 1)
    }
}

END { print passed + 0, failed + 0, skipped + 0 }
