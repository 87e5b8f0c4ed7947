package password

import (
	"errors"
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
		for _, wrapping := range wrappings() {
			if unwrapped, _, err := h.Adopt(wrapping + v.hash); err != nil || unwrapped != stored {
				t.Errorf("%s%s is adopted as %q, %v", wrapping, v.hash, unwrapped, err)
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

// Some programs leave the two bits that no byte needs as they come; passlib overlooks them, and so must the import.
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
	for hash, want := range map[string]string{
		"":                                    "no bcrypt",
		"fakehashedsecret":                    "no bcrypt", // the tutorial's, before it has bcrypt
		"5f4dcc3b5aa765d61d8327deb882cf99":    "no bcrypt",
		"$2$12$" + someBody:                   "$2$",
		"$2x$12$" + someBody:                  "$2x$",
		"{CRYPT}$2x$12$" + someBody:           "$2x$",
		"$2c$12$" + someBody:                  "no whole bcrypt",
		bcrypt[:59]:                           "no whole bcrypt",
		bcrypt + "=":                          "no whole bcrypt",
		bcrypt + "\x00":                       "no whole bcrypt",
		bcrypt + "\n":                         "no whole bcrypt",
		" " + bcrypt:                          "no bcrypt",
		"{CRYPT}":                             "no bcrypt",
		"{CRYPT}{CRYPT}" + bcrypt:             "no bcrypt",
		"bcrypt$bcrypt$" + bcrypt:             "no bcrypt",
		"{CRYPT}$hmac-sha256$k=0$" + bcrypt:   "no bcrypt",
		"$hmac-sha256$k=$" + bcrypt:           "no whole bcrypt",
		"$hmac-sha256$k=0$$2x$12$" + someBody: "$2x$",
		"$2b$03$" + someBody:                  "cost 3",
		"$2b$13$" + someBody:                  "cost 13 is not between 4 and 12",
		"$hmac-sha256$k=0$$2b$13$" + someBody: "cost 13",
		"$bcrypt-sha256$2a,12$LrmaIX5x4TRtAwEfwJZa1.$2ehnw6LvuIUTM0iz4iz9hTxv21B6KFO":         "digest",
		"$bcrypt-sha256$v=2,t=2b,r=12$n79VH.0Q2TMWmt3Oqt9uku$Kq4Noyk3094Y2QlB8NdRT8SvGiI4ft2": "digest",
		"bcrypt_sha256$" + bcrypt: "digest",
		"$wp" + bcrypt:            "digest",
		"$argon2id$v=19$m=65536,t=3,p=4$wagCPXjifgvUFBzq4hqe3w$CYaIb8sB+wtD+Vu/P4uod1+Qof8h+1g7bbDlBID48Rc": "argon2",
		"$pbkdf2-sha256$29000$someSalt$someDigest":                                                          "PBKDF2",
		"pbkdf2_sha256$720000$someSalt$someDigest":                                                          "PBKDF2",
		"scrypt$someSalt$16384$8$1$someDigest":                                                              "scrypt",
		"$1$someSalt$someDigest":                                                                            "md5-crypt",
		"$5$rounds=5000$someSalt$someDigest":                                                                "sha256-crypt",
		"$6$rounds=5000$someSalt$someDigest":                                                                "sha512-crypt",
		"$P$BsomeSaltSomeDigest":                                                                            "phpass",
		"{SSHA}someDigest":                                                                                  "no bcrypt",
		"!":                                                                                                 "without a usable password",
		"*":                                                                                                 "without a usable password",
		"!" + bcrypt:                                                                                        "without a usable password", // locked, in shadow(5)
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
		if _, err := h.Verify(t.Context(), stored, "tr0ub4dor&3"); errors.Is(err, ErrUnusableHash) {
			t.Errorf("%q is adopted as %q, of which Verify says %v", hash, stored, err)
		}
	})
}
