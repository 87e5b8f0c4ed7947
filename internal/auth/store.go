package auth

// A Store stores what the types of this package need. Each type names only the part that it uses,
// such as [AccountStore] or [SessionStore]. All parts have these duties:
//
//   - Every method is atomic. When it returns without an error, what it reports is durable. That
//     also holds if there was nothing to change: the change may come from a caller who was cut off,
//     and may be visible before a standby has it.
//   - Times are those of the database, so that replicas whose clocks differ agree.
//   - A broken connection, a time-out and an unknown outcome are [ErrUnavailable]. If the caller's
//     context has ended, the error is the context's. None of these is ever reported as a success or
//     as "not found".
//   - Password hashes are stored and returned as they are, and are never logged.
//   - A method that takes an [Event] records it if the operation succeeds, in the same transaction.
//     So a change and its event are stored together or not at all. The event is also recorded if
//     there was nothing to change.
//   - A method that takes a [Rule] asks it, as the comment of Rule says.
type Store interface {
	AddressStore
	AccountStore
	AccessStore
	AuditStore
	AuthorizationStore
	BrowserStore
	ClientStore
	ConsentStore
	CostStore
	FactorStore
	FactorProofStore
	InvitationStore
	KeyStore
	LoginStore
	MailStore
	PepperStore
	PersonalStore
	RateStore
	RecoveryStore
	RoleStore
	SessionStore
	TokenStore
	TransferStore
}
