package app_test

import (
	"cmp"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
)

// A reader who types the commands of docs/apps.md must get an app that logs its users in. Nobody
// else finds out when another release breaks it.
func TestAppsOfTheDocumentsLogUsersInAndOutAndHearOfBans(t *testing.T) {
	t.Parallel()
	tryAppsOfTheDocuments(t, func(d *documented) visitor { return d.person() })
}

// tryAppsOfTheDocuments starts each app with a service of its own, and sends it a visitor.
func tryAppsOfTheDocuments(t *testing.T, visit func(*documented) visitor) {
	t.Helper()
	programs := t.TempDir()
	buildGatehouse(t, filepath.Join(programs, "gatehouse"))
	for heading, app := range map[string]struct {
		find func(t *testing.T)
		try  func(*documented, visitor)
	}{
		"Go":               {proxyProgram{name: "go"}.find, (*documented).tryGo},
		"FastAPI":          {proxyProgram{name: "uvicorn"}.find, (*documented).tryFastAPI},
		"oauth2-proxy":     {oauth2ProxyIn(programs), (*documented).tryOAuth2Proxy},
		"mod_auth_openidc": {proxyProgram{name: "/usr/sbin/apache2"}.find, (*documented).tryApache},
	} {
		t.Run(heading, func(t *testing.T) {
			t.Parallel()
			app.find(t)
			d := document(t, heading, programs, dbtest.FreeAddr(t))
			d.start()
			app.try(d, visit(d))
		})
	}
}

// refusesMixUp sends the app a code that came from another issuer, and one that names none. By a
// code that it takes to the wrong issuer, an app of two issuers gives it away (RFC 9207 §1).
func (d *documented) refusesMixUp() {
	d.Helper()
	p := d.person()
	for name, answer := range map[string]url.Values{
		"another issuer": {"code": {"x"}, "iss": {"https://evil.example"}},
		"a longer name":  {"code": {"x"}, "iss": {d.public + "/"}},
		"no issuer":      {"code": {"x"}},
	} {
		page := p.opens(d.app + "/callback?" + answer.Encode())
		if page.status != http.StatusForbidden ||
			!strings.Contains(page.body, "answer is not from Gatehouse") {
			d.Errorf("a code of %s: %d %s", name, page.status, page.body)
		}
	}
	page := p.opens(d.app + "/callback?" + url.Values{"code": {"x"}, "iss": {d.public}}.Encode())
	if page.status != http.StatusForbidden || !strings.Contains(page.body, "login has failed") {
		d.Errorf("a forged code of Gatehouse: %d %s", page.status, page.body)
	}
}

func (d *documented) tryGo(v visitor) {
	d.refusesMixUp()
	d.wantHello(d.logsIn(v, d.app))
	d.wantHello(v.opens(d.app))
	d.wantLogin(v.sendsForm(v.opens(d.app))) // of the app's own home again
	d.wantHello(d.logsIn(v, d.app))
	d.banAlice()
	asynctest.Await(d, "the app to hear of the ban", func() bool { return d.isLogin(v.opens(d.app)) })
}

func (d *documented) tryFastAPI(v visitor) {
	asynctest.Await(d, "nobody to be refused, once it is known what was revoked",
		func() bool { return v.opens(d.app).status == http.StatusUnauthorized })
	d.refusesMixUp()
	d.wantHello(d.logsIn(v, d.app+"/login"))
	d.wantHello(v.opens(d.app))
	bearer := func(token string) int {
		request, err := http.NewRequestWithContext(d.Context(), http.MethodGet, d.app, nil)
		must(d, err)
		request.Header.Set("Authorization", "Bearer "+token)
		a, err := send(d.plain, request)
		must(d, err)
		return a.status
	}
	d.want(http.StatusCreated, d.do(d.registerRequest("bob", goodPassword)))
	program, lost := d.login("alice", goodPassword), d.login("bob", goodPassword)
	if good, forged := bearer(program), bearer(program[:len(program)-8]+"AAAAAAAA"); good !=
		http.StatusOK || forged != http.StatusUnauthorized {
		d.Errorf("a program's token: %d, a forged one: %d", good, forged)
	}
	d.wantLogin(v.sendsForm(v.opens(d.app)))
	d.wantHello(d.logsIn(v, d.app+"/login"))
	d.banAlice()
	asynctest.Await(d, "the app to hear of the ban",
		func() bool { return v.opens(d.app).status == http.StatusUnauthorized })
	asynctest.Await(d, "the program to be refused",
		func() bool { return bearer(program) == http.StatusUnauthorized })

	// A restored database does not know bob's session. His token is revoked by its time alone.
	if good := bearer(lost); good != http.StatusOK {
		d.Errorf("another program's token: %d", good)
	}
	_, err := connect(d, d.databaseURL).Exec(d.Context(), "DELETE FROM sessions")
	must(d, err)
	_, err = adminOf(d.T, d.databaseURL).Sessions.Restored(d.Context(), authtest.Operator(),
		time.Now().Add(time.Second))
	must(d, err)
	asynctest.Await(d, "the app to hear of the restore",
		func() bool { return bearer(lost) == http.StatusUnauthorized })
}

// tryOAuth2Proxy has the cookie refreshed after a second, and not after a minute.
func (d *documented) tryOAuth2Proxy(v visitor) {
	const told = "X-Forwarded-Preferred-Username"
	d.wantUpstream(d.logsIn(v, d.app), told)
	d.wantUpstream(v.opens(d.app), told)
	onward := d.public + "/end-session?" + url.Values{"client_id": {"proxy"},
		"post_logout_redirect_uri": {d.app + "/"}}.Encode()
	page := v.opens(d.app + "/oauth2/sign_out?" + url.Values{"rd": {onward}}.Encode())
	if page.at.Path != "/end-session" || !strings.Contains(page.body, "The wiki") {
		d.Fatalf("%s shows %d\n%s", page.at, page.status, page.body)
	}
	d.wantLogin(v.sendsForm(page, "choice", "log_out")) // of the app's own home
	d.wantUpstream(d.logsIn(v, d.app), told)
	d.banAlice()
	asynctest.Await(d, "the proxy to hear of the ban",
		func() bool { return d.isLogin(v.opens(d.app)) })
}

func (d *documented) tryApache(v visitor) {
	const told = "Remote-User"
	d.wantUpstream(d.logsIn(v, d.app), told)
	d.wantUpstream(v.opens(d.app), told)
	// of the app's own home again
	d.wantLogin(v.opens(d.app + "/callback?" + url.Values{"logout": {d.app + "/"}}.Encode()))
	d.wantUpstream(d.logsIn(v, d.app), told)
	d.banAlice()
	asynctest.Await(d, "Apache to hear of the ban",
		func() bool { return d.isLogin(v.opens(d.app)) })
}

// wantUpstream wants the app behind a proxy to have got the user in a header, and no token.
func (d *documented) wantUpstream(page shown, header string) {
	d.Helper()
	d.wantHello(page)
	requests := d.upstream.take()
	got := requests[len(requests)-1].header
	if user := got.Get(header); user != "alice" {
		d.Errorf("the app takes the user for %q", user)
	}
	for name, values := range got {
		if name != "Cookie" && strings.Contains(strings.Join(values, " "), "eyJ") {
			d.Errorf("the app gets a token in %s", name)
		}
	}
}

// documented is an app of docs/apps.md, and a service with the account alice.
type documented struct {
	*replica
	databaseURL string
	app         string // its URL
	address     string // of the app
	commands    string
	programs    string    // the folder with the command line
	upstream    *recorder // the app behind those that are proxies
}

func document(t *testing.T, heading, programs, address string, flags ...string) *documented {
	t.Helper()
	r, databaseURL := bootIssuer(t, flags...)
	r.want(http.StatusCreated, r.do(r.registerRequest("alice", goodPassword)))
	d := &documented{replica: r, databaseURL: databaseURL, address: address,
		programs: programs, upstream: record(t, http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) {
				user := cmp.Or(r.Header.Get("X-Forwarded-Preferred-Username"), r.Header.Get("Remote-User"))
				_, _ = io.WriteString(w, "Hello, "+user+".")
			}))}
	d.app = "http://" + atLocalhost(d.address)
	page, err := os.ReadFile("../../docs/apps.md")
	must(t, err)
	head, _, _ := strings.Cut(string(page), "\n## ")
	_, section, found := strings.Cut(string(page), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !found {
		t.Fatalf("docs/apps.md has no section %s", heading)
	}
	// The reader builds into the repository. Here the program is somewhere else, and is built already.
	prepare, builds := strings.CutPrefix(commandsIn(t, head), "make --silent build\n")
	if !builds {
		t.Fatal("docs/apps.md does not say how its reader gets the command line")
	}
	d.commands = prepare + commandsIn(t, section)
	return d
}

// commandsIn returns the one block of commands of a text.
func commandsIn(t *testing.T, text string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, "\n```sh\n")
	block, rest, closed := strings.Cut(rest, "\n```\n")
	if !found || !closed || strings.Contains(rest, "```sh") {
		t.Fatalf("not one block of commands:\n%s", text)
	}
	return block + "\n"
}

// start types the commands into a shell, and returns when the app accepts connections.
func (d *documented) start() {
	d.Helper()
	commands := d.prepared()
	log := &logBuffer{}
	// Its input ends when the process of the test does. Whoever stops that leaves no app behind.
	const orphaned = "exec 3<&0; (cat <&3; kill 0) &\n"
	shell := exec.Command("bash", "-euc", orphaned+commands)
	_, err := shell.StdinPipe()
	must(d, err)
	shell.Dir, shell.Stdout, shell.Stderr = "../..", log, log
	// The signal at the end goes to all that the shell has started.
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.WaitDelay = time.Minute
	must(d, shell.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = shell.Wait() // how it ended matters only if that was early, and then the log tells
	}()
	d.Cleanup(func() {
		_ = syscall.Kill(-shell.Process.Pid, syscall.SIGTERM)
		<-ended
		if d.Failed() {
			d.Logf("log of the app:\n%s", log)
		}
	})
	asynctest.Await(d, "the app", func() bool {
		select {
		case <-ended:
			d.Fatal("the commands have ended")
		default:
		}
		conn, err := net.Dial("tcp", d.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// types types the commands into a shell, and returns what they have printed when they end.
func (d *documented) types() string {
	d.Helper()
	shell := exec.CommandContext(d.Context(), "bash", "-euo", "pipefail", "-c", d.prepared())
	shell.Dir = "../.."
	out, err := shell.Output()
	must(d, err)
	return string(out)
}

// prepared returns the commands of the page, but for the ports and for the place of the files.
func (d *documented) prepared() string {
	d.Helper()
	examples, files := d.T.TempDir(), d.T.TempDir()
	port := d.address[strings.LastIndexByte(d.address, ':')+1:]
	replace := strings.NewReplacer("localhost:8000", strings.TrimPrefix(d.public, "http://"),
		"localhost:9000", "localhost:"+port, " 9000", " "+port, "localhost:9001", d.upstream.address(), `"1m"  `, `"1s"  `,
		"$PWD/docs/examples", examples, "$PWD/.dev", files,
		"docs/examples", examples, ".dev/", files+"/", "$PWD/bin", d.programs)
	copyReplaced(d.T, "../../docs/examples", examples, replace)
	must(d, os.WriteFile(filepath.Join(files, "database_url"), []byte(d.databaseURL), 0o600))
	return replace.Replace(d.commands)
}

// copyReplaced copies the files of a folder, with other texts in them.
func copyReplaced(t *testing.T, from, to string, replace *strings.Replacer) {
	t.Helper()
	must(t, filepath.WalkDir(from, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), []byte(replace.Replace(string(text))), 0o644)
	}))
}

// oauth2ProxyIn puts the program into a folder. It is built from its source once, and kept.
func oauth2ProxyIn(folder string) func(t *testing.T) {
	return func(t *testing.T) {
		t.Helper()
		cache, err := os.UserCacheDir()
		must(t, err)
		cache = filepath.Join(cache, "gatehouse-tests")
		install := exec.CommandContext(t.Context(), "go", "install",
			"github.com/oauth2-proxy/oauth2-proxy/v7@v7.15.6")
		install.Env = append(os.Environ(), "GOBIN="+cache)
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		must(t, os.Symlink(filepath.Join(cache, "oauth2-proxy"), filepath.Join(folder, "oauth2-proxy")))
	}
}

// buildGatehouse makes the command line.
func buildGatehouse(t *testing.T, program string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "nomsgpack",
		"-o", program, "../../cmd/gatehouse").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func (d *documented) wantHello(page shown) {
	d.Helper()
	if page.status != http.StatusOK || !strings.Contains(page.body, "Hello, alice.") {
		d.Fatalf("%s shows %d\n%s", page.at, page.status, page.body)
	}
}

// wantLogin wants nobody to be logged in any more, at the app and at the service.
func (d *documented) wantLogin(page shown) {
	d.Helper()
	if !d.isLogin(page) {
		d.Errorf("logged out, and at %s: %d\n%s", page.at, page.status, page.body)
	}
}

func (d *documented) banAlice() {
	d.Helper()
	_, err := adminOf(d.T, d.databaseURL).Accounts.Disable(d.Context(), authtest.Operator(),
		auth.ByName("alice"), nil)
	must(d, err)
}
