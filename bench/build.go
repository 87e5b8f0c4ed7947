package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// edit is a change of the product's source for one build.
type edit struct{ file, old, new string }

// lowCosts lets BCRYPT_COST be lower than the product does, so that thousands of logins take minutes, and what is not
// hashing shows.
func lowCosts() edit {
	return edit{"internal/config/config.go", "p.BcryptCost < bcrypt.DefaultCost", "p.BcryptCost < bcrypt.MinCost"}
}

// noBrake answers refusals for limits at once: that they are held back could hide what there is to see, and takes minutes.
func noBrake() edit {
	return edit{"internal/httpapi/brake.go", "heldBack = 25 * time.Millisecond", "heldBack = 0 * time.Millisecond"}
}

// skipTheHash is the mistake by which time tells who has an account.
func skipTheHash() edit {
	found := "\tnobody := stored == \"\"\n"
	return edit{"internal/password/hash.go", found, found + "\tif nobody {\n\t\treturn Verdict{}, nil\n\t}\n"}
}

// edited builds the service from its source with some edits, once for each name, and returns the program. An edit that no
// longer fits the source is an error.
func (s *stage) edited(ctx context.Context, name string, edits ...edit) (string, error) {
	program := filepath.Join(s.dir, name)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for n, e := range edits {
		file := filepath.Join(strings.TrimSpace(string(root)), e.file)
		source, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		if strings.Count(string(source), e.old) != 1 {
			return "", fmt.Errorf("%s: the bench edits %q, which is not there once", e.file, e.old)
		}
		overlay.Replace[file] = filepath.Join(s.dir, fmt.Sprintf("%s-%d.go", name, n))
		if err := os.WriteFile(overlay.Replace[file], []byte(strings.Replace(string(source), e.old, e.new, 1)), 0o600); err != nil {
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
	out, err := exec.CommandContext(ctx, "go", "build", "-tags", "nomsgpack", "-overlay", program+".json", "-o", program, "gatehouse/cmd/gatehouse").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return program, nil
}

// service starts a build of the service on a database, once for each name.
func (s *stage) service(ctx context.Context, name, binary, databaseURL string, env ...string) (*program, error) {
	public, ops := freeAddr(), freeAddr()
	return s.start(ctx, name, public, "http://"+ops+"/readyz", append(env,
		"DATABASE_URL="+databaseURL, "SECRET_KEY="+secretKey, "ALGORITHM=HS256", "LISTEN_ADDR="+public, "OPS_ADDR="+ops, "SHUTDOWN_DELAY=0s",
	), binary, "serve")
}

// lowCostBuild is the product, but for lowCosts.
func (s *stage) lowCostBuild(ctx context.Context) (string, error) {
	return s.edited(ctx, "gatehouse-low-cost", lowCosts())
}
