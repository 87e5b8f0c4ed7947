package auth

// Sight is what somebody is about to change, read while nobody else can change rights. A field is
// zero if the change is not about it, or if it does not exist.
type Sight struct {
	User   User
	Role   Role
	Client Client
	Roles  []Role // those that are to be given, one for each name
}

// Rule decides whether a change may be made. The zero Rule refuses everything.
//
// A store makes the changes that have a Rule one after the other. First it checks that the actor of
// the event is still the same: an enabled user or client, with the token version of the [Actor]. If
// not, it returns [ErrInvalidToken]. So an administrator who loses rights cannot undo that with a
// request that was already under way. Then the store asks the Rule about what is to be changed, as
// the change before has left it. An error of the Rule becomes the error of the change.
type Rule struct {
	free  bool
	judge func(Sight) error
}

// Judged returns a Rule that asks a function. The function must be pure, since it runs within the
// change's transaction.
func Judged(judge func(Sight) error) Rule { return Rule{judge: judge} }

// Freely returns the Rule for changes that users make to what is their own. Such a change takes no
// rights from others, so it need not wait for its turn.
func Freely() Rule { return Rule{free: true} }

// Free reports whether the rule allows everything without being asked.
func (r Rule) Free() bool { return r.free }

// Judge returns nil if the change may be made. The zero Rule returns [ErrForbidden]; the error of
// other rules says what is wrong.
func (r Rule) Judge(seen Sight) error {
	switch {
	case r.free:
		return nil
	case r.judge == nil:
		return ErrForbidden
	}
	return r.judge(seen)
}
