// Package breached owns the filter of passwords that are known from leaks: its file, how it is
// made of lists, and how it is asked. Nobody outside the machine hears of a password.
//
// The file has 256 binary fuse filters, one for each first byte of a SHA-1 hash. So a file of any
// size is made in little memory, one filter after the other. A fingerprint has 32 bits: 16 would
// take one password in 65,536 for a leaked one, and a second look-up to make that rarer costs more
// than it saves. The file is mapped into memory, and a look-up reads three places of it.
//
// The same hashes make the same file, in whatever order they come.
package breached
