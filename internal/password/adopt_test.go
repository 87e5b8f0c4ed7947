package password

import (
	"strings"
	"testing"
)

func TestAdoptedHashesOfOtherProgramsVerify(t *testing.T) {
	t.Parallel()
	cheap, dear := newHasher(t, 4), newHasher(t, 8)
	for _, v := range bcryptVectors {
		h := cheap
		if strings.HasPrefix(v.hash, "$2b$10$") {
			h = dear
		}
		stored, keyID, err := h.Adopt(v.hash)
		if err != nil || keyID != "" {
			t.Errorf("%s: key %q, %v", v.hash, keyID, err)
			continue
		}
		if !mustVerify(t, h, stored, v.password).Match {
			t.Errorf("%q is refused for %s", v.password, v.hash)
		}
		for _, wrapping := range []string{"{CRYPT}", "{crypt}", "{bcrypt}", "{BCRYPT}", "{BLF-CRYPT}", "{blf-crypt}", "bcrypt$"} {
			if inner, _, err := h.Adopt(wrapping + v.hash); err != nil || inner != stored {
				t.Errorf("%s%s is adopted as %q, %v", wrapping, v.hash, inner, err)
			}
		}
	}
}

// What Gatehouse has exported must come in as it was, and name its key.
func TestOwnHashIsAdoptedAsItIs(t *testing.T) {
	t.Parallel()
	for _, h := range []*Hasher{newHasher(t, 4), newHasher(t, 4, pepper(1))} {
		own := mustHash(t, h, "tr0ub4dor&3")
		stored, keyID, err := h.Adopt(own)
		if err != nil || stored != own || keyID != h.ring.Current().ID {
			t.Errorf("%s is adopted as %s, key %q, %v", own, stored, keyID, err)
		}
	}
}

// Some programs leave the two bits that no byte needs as they come; passlib overlooks them, and so
// must the import.
func TestSpareBitsOfTheLastCharacterLockNobodyOut(t *testing.T) {
	t.Parallel()
	h := newHasher(t, 4)
	clean := plain(t, "tr0ub4dor&3", 4)
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	last := strings.IndexByte(alphabet, clean[len(clean)-1])
	for spare := range 4 {
		stored, _, err := h.Adopt(clean[:len(clean)-1] + alphabet[last+spare:last+spare+1])
		if err != nil || stored != clean {
			t.Errorf("spare bits %d: %s, want %s; %v", spare, stored, clean, err)
		}
	}
}

func TestHashThatCannotBeVerifiedIsNotAdopted(t *testing.T) {
	t.Parallel()
	h := newHasher(t, 10)
	bcrypt := "$2b$12$" + someBody
	const argon2Rest = "$v=19$m=8,t=1,p=1$c29tZXNhbHQ$RR3B6XUH7DI1blhzJaRchg"
	for hash, want := range map[string]string{
		"":                                    "no hash of a known kind",
		"fakehashedsecret":                    "no hash of a known kind", // the tutorial's, before it has bcrypt
		"5f4dcc3b5aa765d61d8327deb882cf99":    "no hash of a known kind",
		"$2$12$" + someBody:                   "$2$",
		"$2x$12$" + someBody:                  "$2x$",
		"{CRYPT}$2x$12$" + someBody:           "$2x$",
		"$2c$12$" + someBody:                  "no whole bcrypt",
		bcrypt[:59]:                           "no whole bcrypt",
		bcrypt + "=":                          "no whole bcrypt",
		bcrypt + "\x00":                       "no whole bcrypt",
		bcrypt + "\n":                         "no whole bcrypt",
		" " + bcrypt:                          "no hash of a known kind",
		"{CRYPT}":                             "no hash of a known kind",
		"{CRYPT}{CRYPT}" + bcrypt:             "no hash of a known kind",
		"bcrypt$bcrypt$" + bcrypt:             "no hash of a known kind",
		"{CRYPT}$hmac-sha256$k=0$" + bcrypt:   "no whole bcrypt",
		"$hmac-sha256$k=$" + bcrypt:           "no whole bcrypt",
		"$hmac-sha256$k=0$$2x$12$" + someBody: "$2x$",
		"$2b$03$" + someBody:                  "cost 3",
		"$2b$17$" + someBody:                  "cost 17 is not between 4 and 16",
		"$hmac-sha256$k=0$$2b$17$" + someBody: "cost 17",
		"$bcrypt-sha256$2a,12$LrmaIX5x4TRtAwEfwJZa1.$2ehnw6LvuIUTM0iz4iz9hTxv21B6KFO":         "digest",
		"$bcrypt-sha256$v=2,t=2b,r=12$n79VH.0Q2TMWmt3Oqt9uku$Kq4Noyk3094Y2QlB8NdRT8SvGiI4ft2": "digest",
		"bcrypt_sha256$" + bcrypt:                  "digest",
		"$wp" + bcrypt:                             "digest",
		"$argon2i" + argon2Rest:                    "argon2i: not known",
		"argon2$argon2i" + argon2Rest:              "argon2i: not known",
		"{ARGON2}$argon2i" + argon2Rest:            "argon2i: not known",
		"$argon2d" + argon2Rest:                    "argon2d: not known",
		"$pbkdf2-sha256$29000$someSalt$someDigest": "PBKDF2: not known",
		"pbkdf2_sha256$720000$someSalt$someDigest": "PBKDF2: not known",
		"pbkdf2:sha256:600000$someSalt$someDigest": "PBKDF2: not known",
		"scrypt$someSalt$16384$8$1$someDigest":     "scrypt: not known",
		"scrypt:32768:8:1$someSalt$someDigest":     "scrypt: not known",
		"$7$CU..../....someSalt$someDigest":        "scrypt: not known",
		"$y$j9T$someSalt$someDigest":               "yescrypt: not known",
		"$1$someSalt$someDigest":                   "md5-crypt: not known",
		"$apr1$someSalt$someDigest":                "apr1: not known",
		"$5$rounds=5000$someSalt$someDigest":       "sha256-crypt: not known",
		"$6$rounds=5000$someSalt$someDigest":       "sha512-crypt: not known",
		"{CRYPT}$6$someSalt$someDigest":            "sha512-crypt: not known",
		"$P$BsomeSaltSomeDigest":                   "phpass: not known",
		"$S$DsomeSaltSomeDigest":                   "Drupal 7: not known",
		"{SSHA}someDigest":                         "salted SHA: not known",
		"sha1$someSalt$someDigest":                 "SHA-1: not known",
		"{noop}secret":                             "plain text: not known",
		"!":                                        "without a usable password",
		"*":                                        "without a usable password",
		"!" + bcrypt:                               "without a usable password", // locked, in shadow(5)
	} {
		stored, _, err := h.Adopt(hash)
		if err == nil || stored != "" || !strings.Contains(err.Error(), want) {
			t.Errorf("Adopt(%q) = %q, %v; want an error with %q", hash, stored, err, want)
		} else if strings.Contains(err.Error(), someBody) || strings.Contains(err.Error(), "some") || strings.Contains(err.Error(), "secret") {
			t.Errorf("the hash is quoted: %v", err)
		}
	}
}

// An import that takes what a login then cannot use locks its owner out.
func FuzzAdoptedHashIsUsable(f *testing.F) {
	for _, v := range bcryptVectors[:3] {
		f.Add(v.hash)
	}
	for _, v := range argon2idVectors[1:4] {
		f.Add(v.hash)
	}
	for _, seed := range []string{"{CRYPT}$2b$12$" + someBody, "bcrypt$$2y$04$" + someBody, "$hmac-sha256$k=0$$2b$06$" + someBody, "$2x$04$" + someBody} {
		f.Add(seed)
	}
	h := newHasher(f, 4)
	f.Fuzz(func(t *testing.T, hash string) {
		stored, keyID, err := h.Adopt(hash)
		if err != nil {
			if len(hash) > 20 && strings.Contains(err.Error(), hash) {
				t.Errorf("quoted: %v", err)
			}
			return
		}
		if again, _, err := h.Adopt(stored); err != nil || again != stored {
			t.Errorf("%q is adopted as %q, and that as %q, %v", hash, stored, again, err)
		}
		if keyID != "" && keyID != publicKeyID {
			return // of a key that this ring does not hold
		}
		if _, err := h.usable(stored); err != nil {
			t.Errorf("%q is adopted as %q, of which Verify says %v", hash, stored, err)
		}
	})
}
