// Package password owns how passwords are judged, hashed and verified: what a new one must be (Policy), the bytes that
// stand for it (Prepare), the stored form and the work of checking it (Hasher, KeyRing), and where that work runs so
// that it can't slow the rest of the service (Lane).
package password
