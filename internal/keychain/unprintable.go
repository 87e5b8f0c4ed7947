package keychain

import (
	"fmt"
	"io"
)

const printed = "[keys]"

// unprintable is embedded in whatever holds keys. It answers every way of printing a value with a
// fixed text, so that keys do not get into a log or an answer by mistake.
type unprintable struct{}

// Format implements [fmt.Formatter].
func (unprintable) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, printed) }

// MarshalText implements [encoding.TextMarshaler].
func (unprintable) MarshalText() ([]byte, error) { return []byte(printed), nil }
