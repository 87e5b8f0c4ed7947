package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Root is the folder of the repository, which is that of the product's module. The bench's go.mod
// has its place.
func Root(ctx context.Context) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "gatehouse.example").Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	return strings.TrimSpace(string(root)), nil
}

// Edit is a change of the product's source for one build.
type Edit struct{ file, old, new string }

// apply is an error for a source that no longer has what is to be edited.
func (e Edit) apply(source string) (string, error) {
	if strings.Count(source, e.old) != 1 {
		return "", fmt.Errorf("%s: the bench edits %q, which is not there once", e.file, e.old)
	}
	return strings.Replace(source, e.old, e.new, 1), nil
}

// LowCosts lets BCRYPT_COST be lower than the product does, so that thousands of logins take
// minutes, and what is not hashing shows.
func LowCosts() Edit {
	return Edit{"internal/config/config.go", "p.BcryptCost < bcrypt.DefaultCost", "p.BcryptCost < bcrypt.MinCost"}
}

// NoBrake answers refusals for limits at once: that they are held back could hide what there is to
// see, and takes minutes.
func NoBrake() Edit {
	return Edit{"internal/edge/brake.go", "heldBack = 25 * time.Millisecond", "heldBack = 0 * time.Millisecond"}
}

// NoWait answers a refusal as soon as its hash is made. The database has dearer hashes than those
// of these rows, for which refusals wait: that could hide what there is to see.
func NoWait() Edit {
	return Edit{"internal/password/dearest.go", "if dearest == nil ||", "if dearest == nil || h.cost < 10 ||"}
}

// SkipTheHash is the mistake by which time tells who has an account.
func SkipTheHash() Edit {
	found := "\tnobody := stored == \"\"\n"
	return Edit{"internal/password/hash.go", found, found + "\tif nobody {\n\t\treturn Verdict{}, nil\n\t}\n"}
}

// QueueForTheKnown is the mistake by which time tells whom a mail can be sent to: the request looks
// for the account, which is the work of the worker.
func QueueForTheKnown() Edit {
	queued := "\te.Mails = []QueuedMail{mail}\n\treturn challenge, r.store.RecordEvent("
	looked := "\tif _, err := r.store.UserByKey(ctx, content.Login); errors.Is(err, ErrUserNotFound) {\n\t\treturn mail.ID, nil\n\t}\n"
	return Edit{"internal/auth/recovery.go", queued, looked + queued}
}

// AskForPasskeys is the mistake by which time tells who has a passkey: it is asked for first, and
// the password is not compared.
func AskForPasskeys() Edit {
	compared := "\tverdict, err := l.passwords.verify(ctx, found.PasswordHash, pw)\n\tif err == nil {\n\t\terr = refusal("
	asked := "\tif found.Factors.Passkeys > 0 {\n\t\treturn Proof{}, ErrWrongPassword\n\t}\n"
	return Edit{"internal/auth/login.go", compared, asked + compared}
}

// UseWrongCodes is the mistake by which time tells who has an app: a code is used whether or not it
// is right.
func UseWrongCodes() Edit {
	used := "\tused, err := l.store.UseTOTP("
	return Edit{"internal/auth/factorproof.go", "\tif !ok {\n\t\treturn ErrWrongFactor\n\t}\n" + used, "\t_ = ok\n" + used}
}

// HashNewAddresses is the mistake by which time tells who has an address: a registration looks for
// its owner, and does not hash if there is one.
func HashNewAddresses() Edit {
	hashed := "hash, err := r.passwords.hash(ctx, prepared)\n"
	looked := "hash := \"$2b$04$" + strings.Repeat("h", 53) + "\"\n\tif known, _ := r.store.FindUsers(ctx, UserFilter{Email: address.Key}, \"\", 1); len(known) == 0 {\n\t\t"
	return Edit{"internal/auth/registration.go", hashed, looked + strings.Replace(hashed, ":=", "=", 1) + "\t}\n"}
}

// Mistakes are all of them.
func Mistakes() []Edit {
	return []Edit{SkipTheHash(), QueueForTheKnown(), AskForPasskeys(), UseWrongCodes(), HashNewAddresses()}
}

// Edited builds the service from its source with some edits, once for each name, and returns the
// program.
func (s *Stage) Edited(ctx context.Context, name string, edits ...Edit) (string, error) {
	program := filepath.Join(s.Dir, name)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for n, e := range edits {
		file := filepath.Join(s.Root, e.file)
		source, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		edited, err := e.apply(string(source))
		if err != nil {
			return "", err
		}
		overlay.Replace[file] = filepath.Join(s.Dir, fmt.Sprintf("%s-%d.go", name, n))
		if err := os.WriteFile(overlay.Replace[file], []byte(edited), 0o600); err != nil {
			return "", err
		}
	}
	listed, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(program+".json", listed, 0o600); err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-tags", "nomsgpack", "-overlay", program+".json", "-o", program, "./cmd/gatehouse")
	build.Dir = s.Root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return program, nil
}

// Service starts a build of the service on a database, once for each name.
func (s *Stage) Service(ctx context.Context, name, binary, databaseURL string, env ...string) (*Program, error) {
	public, ops := FreeAddr(), FreeAddr()
	return s.Start(ctx, name, public, "http://"+ops+"/readyz", append(env,
		"DATABASE_URL="+databaseURL, "SECRET_KEY="+SecretKey, "ALGORITHM=HS256", "LISTEN_ADDR="+public, "OPS_ADDR="+ops, "SHUTDOWN_DELAY=0s",
		"REQUEST_TIMEOUT=60s", "DATABASE_STATEMENT_TIMEOUT=60s", // as in ReplicaOf
	), binary, "serve")
}

// LowCostBuild is the product, but for lowCosts.
func (s *Stage) LowCostBuild(ctx context.Context) (string, error) {
	return s.Edited(ctx, "gatehouse-low-cost", LowCosts())
}
