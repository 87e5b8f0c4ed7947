// Package shortcode owns the codes that people read in one place and type in another: how bits are
// written, and what is forgiven to whoever types. It is pure. It knows nothing of what a code is
// good for.
package shortcode

import "strings"

const (
	// Alphabet is that of Crockford's Base32: without I, L and O, which look like digits, and
	// without U.
	Alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

	// MostTyped bounds what is read of what somebody has typed, in bytes.
	MostTyped = 128

	group = 4
)

// Encode writes bits, five a letter. What is left over of the last letter is 0.
func Encode(data []byte) string {
	letters := make([]byte, 0, (len(data)*8+4)/5)
	var bits uint64
	waiting := 0
	for _, b := range data {
		bits, waiting = bits<<8|uint64(b), waiting+8
		for ; waiting >= 5; waiting -= 5 {
			letters = append(letters, Alphabet[bits>>(waiting-5)&31])
		}
	}
	if waiting > 0 {
		letters = append(letters, Alphabet[bits<<(5-waiting)&31])
	}
	return string(letters)
}

// Shown is a code as people see it, in groups of four: XXXX-XXXX.
func Shown(code string) string { return InGroups(code, "-") }

// InGroups puts a separator between each four letters of an ASCII text.
func InGroups(text, separator string) string {
	var shown strings.Builder
	for n := range len(text) {
		if n > 0 && n%group == 0 {
			shown.WriteString(separator)
		}
		shown.WriteByte(text[n])
	}
	return shown.String()
}

// Read returns the code of so many letters that somebody has typed, and whether it is one. It takes
// small letters, what [Compact] leaves out, O for 0, and I and L for 1.
func Read(typed string, letters int) (code string, ok bool) {
	compact, ok := Compact(typed)
	if !ok {
		return "", false
	}
	read := make([]byte, 0, letters)
	for _, r := range strings.ToUpper(compact) {
		switch r {
		case 'O':
			r = '0'
		case 'I', 'L':
			r = '1'
		}
		if !strings.ContainsRune(Alphabet, r) || len(read) == letters {
			return "", false
		}
		read = append(read, byte(r))
	}
	return string(read), len(read) == letters
}

// Compact leaves out spaces and hyphens, and what mail programs and keyboards put in their place.
// It is false for more than [MostTyped] bytes.
func Compact(typed string) (compact string, ok bool) {
	if len(typed) > MostTyped {
		return "", false
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '-', '\t', '\u00a0', '\u2010', '\u2011', '\u2013', '\u2212':
			return -1
		}
		return r
	}, typed), true
}
