// Package auth owns the rules of Gatehouse: who may register, who is logged in, what a disabled
// account may still do (nothing). It knows neither HTTP nor SQL. What must be stored goes through
// small store interfaces, which the types name.
//
// Each rule has one place:
//
//   - [Actor] is who acts, and a [Rule] is asked before a change;
//   - [Registration] makes accounts for strangers, [Accounts] for whoever manages them;
//   - [Personal] is what users do with their own accounts: take their data along, and leave;
//   - [Addresses] is what users do with their e-mail addresses: prove, change and remove them, and
//     undo that;
//   - [Factors] are what users prove besides the password: they set it up and take it away;
//   - [Transfer] imports and exports accounts;
//   - [Passwords] makes and verifies what is stored of a password;
//   - [Logins] proves who somebody is, and changes passwords;
//   - [Browsers] starts the sessions of browsers, and knows them by their cookies;
//   - [Limits] bounds failed logins, and knows devices;
//   - [Authorizations] lets apps log users in by a code, and [IDTokens] says who they are;
//   - [Tokens] issues, refreshes, introspects and revokes tokens, and [Pace] bounds how often;
//   - [Sessions] lists and ends sessions, within a [Reach];
//   - [Consents] lists and takes back what users have allowed apps, within a [Reach] as well;
//   - [Access] decides what an access token is good for now, and [Checker] whether it was revoked;
//   - [Roles] and [Clients] say who may do what;
//   - [Keys] are the stored signing keys, [Signer] signs with them, and [Feed] reports to other
//     services what was revoked;
//   - [Peppers] are the keys of stored passwords;
//   - [Audit] is the log of all of it.
//
// All types are safe for use by many goroutines. The comment of a method ends with its errors. Two
// errors are not repeated there: each method that asks a store may return [ErrUnavailable], and
// each one that hashes a password may return [ErrOverloaded].
package auth
