// Package password owns how passwords are judged, hashed and verified: what a new one must be
// (Policy), the bytes that stand for it (Prepare), the stored form and the work of checking it
// (Hasher, KeyRing), and where that work runs so that it can't slow the rest of the service (Lane).
//
// The profile of new passwords is OpaqueString (RFC 8265 §4.2), loosened for emoji: Prepare says
// how and why. A hash that was made elsewhere may be of what the profile refuses or changes, so a
// login tries a password's other forms too (formsOf).
package password
