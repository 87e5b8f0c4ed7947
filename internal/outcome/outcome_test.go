package outcome_test

import (
	"errors"
	"fmt"
	"testing"

	"gatehouse.example/internal/outcome"
)

// A reason that is not also the error that it belongs to would be answered as a fault, and would
// reveal who has an account.
func TestAReasonIsWhatItWasMadeOfUnderItsOwnOutcome(t *testing.T) {
	t.Parallel()
	family := outcome.NewFamily("refused")
	one, other := outcome.Reason(family, "unknown", "nobody has this name"),
		outcome.Reason(family, "wrong", "the password is wrong")
	err := fmt.Errorf("db: some query: %w", outcome.Detail(one, "it is %q", "bob"))
	if !errors.Is(err, one) || !errors.Is(err, family) || errors.Is(err, other) {
		t.Errorf("%v is another error", err)
	}
	found, ok := outcome.Of(err)
	if !ok || found.Outcome() != "unknown" ||
		found.Error() != `refused: nobody has this name: it is "bob"` {
		t.Errorf("%v", found)
	}
	if found, ok := outcome.Of(family); !ok || found.Outcome() != "" || found.Unwrap() != nil {
		t.Errorf("the family has an outcome: %+v", found)
	}
}

// Somebody who sees the second error would look for the wrong cause.
func TestOfSeveralErrorsTheFirstCounts(t *testing.T) {
	t.Parallel()
	one, other := outcome.New("one", "one"), outcome.New("other", "other")
	for name, err := range map[string]error{
		"wrapped":                  fmt.Errorf("%w: %w", one, other),
		"joined":                   errors.Join(errors.New("another error"), one, other),
		"wrapped by another error": fmt.Errorf("%w: %w", fmt.Errorf("db: %w", one), other),
	} {
		if found, ok := outcome.Of(err); !ok || found != one {
			t.Errorf("%s: %v", name, found)
		}
	}
	if found, ok := outcome.Of(errors.New("another error")); ok {
		t.Errorf("a fault is taken for %v", found)
	}
}

// A fault that counts as a refusal fills the audit log. A refusal that counts as a fault is missing
// there.
func TestADetailOfAFaultIsAFaultAndAReasonIsARefusal(t *testing.T) {
	t.Parallel()
	refusal, fault := outcome.New("no", "no"), outcome.NewFault("overloaded", "the queue is full")
	for name, test := range map[string]struct {
		err   error
		fault bool
	}{
		"a refusal":             {refusal, false},
		"a detail of a refusal": {outcome.Detail(refusal, "it is late"), false},
		"a fault":               {fault, true},
		"a detail of a fault":   {outcome.Detail(fault, "of %d", 3), true},
		"a reason of a fault": {outcome.Reason(
			fault, "crowded", "with your own work",
		), false},
		"a detail of an unknown error": {outcome.Detail(
			errors.New("another error"), "at %d", 3,
		), true},
	} {
		if found, ok := outcome.Of(test.err); !ok || found.IsFault() != test.fault {
			t.Errorf("%s: %+v", name, found)
		}
	}
}
