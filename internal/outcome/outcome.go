// Package outcome owns the form of expected errors. Each error knows its outcome, which is one word
// for logs, metrics and the audit log. It also knows its text, which says what happened and what to
// do next.
package outcome

import (
	"errors"
	"fmt"
)

// Error is an expected error. Those that have a name are package variables, and are compared with
// [errors.Is].
type Error struct {
	outcome, text string
	of            error // the wider error that it also is, or nil
	fault         bool
}

// New makes the error of a rule that refuses.
func New(outcome, text string) error { return &Error{outcome: outcome, text: text} }

// NewFault makes the error of something that cannot be done now, whatever the rules say. The audit
// log does not record it, since a flood of such errors would fill the log.
func NewFault(outcome, text string) error {
	return &Error{outcome: outcome, text: text, fault: true}
}

// NewFamily makes an error that is returned only as one of its reasons ([Reason]). It has no
// outcome: its reasons have.
func NewFamily(text string) error { return New("", text) }

// Reason makes the error of a rule that refuses, and that also is another error. It has its own
// outcome.
func Reason(of error, outcome, text string) error {
	return &Error{outcome: outcome, text: of.Error() + ": " + text, of: of}
}

// Detail makes an error with more text. It has the outcome of the error that it is made of.
func Detail(of error, format string, args ...any) error {
	e := &Error{text: of.Error() + ": " + fmt.Sprintf(format, args...), of: of, fault: true}
	if known, ok := Of(of); ok {
		e.outcome, e.fault = known.outcome, known.fault
	}
	return e
}

// Of finds the expected error within an error. If several were wrapped or joined, the first one
// counts.
func Of(err error) (*Error, bool) { return errors.AsType[*Error](err) }

// Error returns the text.
func (e *Error) Error() string { return e.text }

// Unwrap returns the error that a reason or a detail was made of, or nil.
func (e *Error) Unwrap() error { return e.of }

// Outcome is the word for logs, metrics and the audit log. It is empty for a family.
func (e *Error) Outcome() string { return e.outcome }

// IsFault is false for the error of a rule that refuses.
func (e *Error) IsFault() bool { return e.fault }
