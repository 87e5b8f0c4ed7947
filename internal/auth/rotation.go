package auth

import (
	"context"
	"errors"
	"slices"
	"time"
)

// rotationLook is how often a waiting rotation checks whether a replica has done the step.
const rotationLook = 2 * time.Second

// RotationStep is what a rotation has done, or waits for.
type RotationStep struct {
	Kind RotationStepKind
	Key  SigningKey     // as it was before the step; not with RotationWaits
	Wait *TooEarlyError // with RotationWaits alone
}

// RotationStepKind is a kind of step.
type RotationStepKind int

// Kinds of steps.
const (
	RotationGoesOn    RotationStepKind = iota // another rotation is under way, and is completed
	RotationActivated                         // the key signs
	RotationRetired                           // the key is retired
	RotationWaits                             // the next step is not safe yet
)

// Rotate makes a new key sign in each of some rings, in place of the active one, in steps in which
// no token is refused. It publishes the key, waits, activates it, waits, and retires the key
// before. All that it knows is in the database. So it can be ended at any point and started again,
// also beside replicas that do the same.
//
// It reports each step when it is done. With wait, Rotate returns when all is done. Without, it
// returns as soon as it would have to wait, and says what for.
func (k *Keys) Rotate(
	ctx context.Context, by Actor, policy *KeyPolicy, rings []KeyRing, wait bool,
	tell func(RotationStep),
) (*TooEarlyError, error) {
	for _, ring := range rings {
		if err := k.beginRotation(ctx, by, policy, ring, tell); err != nil {
			return nil, err
		}
	}
	for {
		step, done, err := k.stepRotation(ctx, by, rings)
		if err != nil || done {
			return nil, err
		}
		switch {
		case step == nil:
		case step.Wait == nil:
			tell(*step)
		case !wait:
			return step.Wait, nil
		default:
			tell(*step)
			if err := pause(ctx, min(step.Wait.Wait, rotationLook)); err != nil {
				return nil, err
			}
		}
	}
}

// beginRotation makes the next key of a ring, unless a rotation is under way there.
func (k *Keys) beginRotation(
	ctx context.Context, by Actor, policy *KeyPolicy, ring KeyRing, tell func(RotationStep),
) error {
	all, err := k.List(ctx)
	if err != nil {
		return err
	}
	for _, key := range ring.of(all) {
		if key.State == KeyNext || key.State == KeyRetiring {
			tell(RotationStep{Kind: RotationGoesOn, Key: key})
			return nil
		}
	}
	err = k.Add(ctx, by, policy, ring)
	if errors.Is(err, ErrKeyPending) { // a replica was first
		return nil
	}
	return err
}

// stepRotation does a step that is safe now, or returns what the first of the keys waits for. It
// returns no step if a replica was first, or if all is done.
func (k *Keys) stepRotation(
	ctx context.Context, by Actor, rings []KeyRing,
) (step *RotationStep, done bool, err error) {
	all, err := k.List(ctx)
	if err != nil {
		return nil, false, err
	}
	done = true
	for _, key := range all {
		if !slices.Contains(rings, key.Ring()) ||
			key.State != KeyNext && key.State != KeyRetiring {
			continue
		}
		done = false
		next, err := k.stepKey(ctx, by, key)
		if err != nil || next == nil || next.Wait == nil {
			return next, false, err
		}
		if step == nil {
			step = next
		}
	}
	return step, done, nil
}

// stepKey does the next step of a key, or returns what it waits for. It returns nothing if a
// replica was first.
func (k *Keys) stepKey(ctx context.Context, by Actor, key SigningKey) (*RotationStep, error) {
	// Early is asked with this machine's clock. An attempt for each look would fill the audit log.
	if early, waits := key.Early(time.Now()); waits {
		return &RotationStep{Kind: RotationWaits, Wait: early}, nil
	}
	step := &RotationStep{Kind: RotationRetired, Key: key}
	var err error
	if key.State == KeyNext {
		step.Kind = RotationActivated
		err = k.Activate(ctx, by, key.Ring())
	} else {
		err = k.Retire(ctx, by, key.ID)
	}
	if early, ok := errors.AsType[*TooEarlyError](err); ok { // by the clock of the database
		return &RotationStep{Kind: RotationWaits, Wait: early}, nil
	}
	if errors.Is(err, ErrKeyNotFound) { // a replica was first
		return nil, nil
	}
	return step, err
}
