// Command gencommon writes common.txt, the passwords that are too common to be allowed.
//
// Source: the ranked list "passwords" of zxcvbn by Dropbox (MIT), the 30,000 most common ones in
// published breaches, as ported in github.com/trustelem/zxcvbn (MIT). COMMON_PASSWORDS.md has the
// notices.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/trustelem/zxcvbn/frequency"
)

// minLength is the policy's floor: shorter ones are refused without a list.
const minLength = 8

func main() {
	if err := os.WriteFile("common.txt", list(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// list is in lower case, sorted by bytes, without duplicates, one a line.
func list() []byte {
	var long []string
	for _, password := range frequency.FrequencyLists["passwords"] {
		if utf8.RuneCountInString(password) >= minLength {
			long = append(long, strings.ToLower(password))
		}
	}
	slices.Sort(long)
	return []byte(strings.Join(slices.Compact(long), "\n") + "\n")
}
