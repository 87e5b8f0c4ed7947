package rows

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/bcrypt"

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/stage"
	"gatehouse.example/bench/internal/stats"
)

const (
	requestsPerTrial = 15   // of each class: 3,000 at the default number of trials
	enoughRequests   = 2500 // of each class, for a verdict
	accounts         = 50   // of each class, so that no row of one account stands for its class
	warmUps          = accounts

	goalT      = 4.5        // |Welch's t| of chance alone
	goalMedian = 1.0        // ms
	plantedT   = 10 * goalT // of a hash, without the slowest tenth

	wrongPassword = "wrong horse battery staple"
)

// timing compares how long logins of different accounts take until they are refused: nobody may
// learn from that whether there is an account. The service is the product's but for the bound on
// BCRYPT_COST and the brake on floods; a second one, with a mistake for each kind of comparison,
// shows that the method would see it. Both have limits that nobody reaches, a third has such that
// everybody does. What has to do with mails and addresses is compared too, at services of its own:
// see [Run.timeMails].
//
// One client sends one request after the other, those of all classes in random order.
func timing(ctx context.Context, s *Run, o Options) (float64, string, error) {
	if err := s.forgetFailures(ctx); err != nil {
		return 0, "", err
	}
	n := o.Trials * requestsPerTrial
	random := rand.New(rand.NewPCG(1, 2)) // the same order at each run
	edits := []stage.Edit{stage.LowCosts(), stage.NoBrake(), stage.NoWait()}
	real, err := s.Edited(ctx, "gatehouse-no-brake", edits...)
	if err != nil {
		return 0, "", err
	}
	planted, err := s.Edited(ctx, "gatehouse-with-mistakes", append(edits, stage.Mistakes()...)...)
	if err != nil {
		return 0, "", err
	}
	cost := "BCRYPT_COST=" + strconv.Itoa(o.Cost)
	wide := append(unreachableLimits(), cost)
	service, err := s.Service(ctx, "timing", real, s.Database.URL(), wide...)
	if err != nil {
		return 0, "", err
	}
	mistaken, err := s.Service(ctx, "mistakes", planted, s.Database.URL(), wide...)
	if err != nil {
		return 0, "", err
	}
	strict, err := s.Service(ctx, "strict limits", real, s.Database.URL(), cost, "ADDRESS_REGISTRATIONS=0", "ACCOUNT_FAILURES=1",
		"ACCOUNT_FAILURES_PER_MINUTE=1", "ACCOUNT_FAILURES_PER_DAY=0", "ADDRESS_FAILURES=0")
	if err != nil {
		return 0, "", err
	}
	client := api.NewClient()
	defer client.CloseIdleConnections()
	classes, err := s.loginClasses(ctx, client, service.URL)
	if err != nil {
		return 0, "", err
	}

	table := &timingTable{random: random}
	times, err := timeLogins(ctx, client, service.URL, classes, n, random)
	if err != nil {
		return 0, "", err
	}
	for c := range classes[1:] {
		table.add(classes[c+1].name, classes[0].name, times[c+1], times[0])
	}
	first, later, err := s.timeLimited(ctx, client, strict.URL, n, random)
	if err != nil {
		return 0, "", err
	}
	table.add("limited: known", "limited: unknown", first[1], first[0])
	table.add("limited again: known", "limited again: unknown", later[1], later[0])
	times, err = timeLogins(ctx, client, mistaken.URL, []loginClass{classes[0], classes[1], classes[7]}, n, random)
	if err != nil {
		return 0, "", err
	}
	table.addPlanted("known", "unknown, not hashed", times[1], times[0], plantedT)
	table.addPlanted("known", "has passkey, not hashed", times[1], times[2], plantedT)
	codes, err := s.timeCodes(ctx, client, service.URL, service.URL, classes[6:], n, random)
	if err != nil {
		return 0, "", err
	}
	table.add("wrong code: app", "wrong code: passkey", codes[0], codes[1])
	if codes, err = s.timeCodes(ctx, client, service.URL, mistaken.URL, classes[6:], n, random); err != nil {
		return 0, "", err
	}
	table.addPlanted("wrong code: app", "passkey, code not used", codes[0], codes[1], 2*goalT)
	if err := s.timeMails(ctx, client, real, planted, cost, table, n); err != nil {
		return 0, "", err
	}
	text, err := table.verdict(n)
	if err != nil {
		return 0, "", err
	}
	return goalT / table.worst, fmt.Sprintf("goal/worst |t|; %d requests of each class, logins on %d accounts, at bcrypt cost %d%s", n, accounts, o.Cost, text), nil
}

// timingTable is what is printed: a line for each comparison.
type timingTable struct {
	text   strings.Builder
	random *rand.Rand
	worst  float64 // |t|
	faults []error
}

const timingHead = `
  POST /token by one client, until the answer has come whole: 401 for a wrong password, or of a disabled account for the right
  one too; 429 of accounts that are limited, by word of the database and then from memory. POST /authorize-challenge: 400 for
  a wrong code. With EMAIL=required, POST /token by an address: 401. POST /password/forgot: 202. POST /users: 201. Each mail
  that these cause is about another account. Classes are in random order. A difference is that of the first less the second;
  "t of 90 %%" is without what is over the ninth decile of both together.
` + "  %-34s %-25s %9s %9s  %-30s %8s %9s %6s"

// add compares what must not differ: by all times, and without the slowest tenth.
func (t *timingTable) add(name, against string, a, b []float64) {
	all, cropped := t.write(name, against, a, b)
	worst := max(math.Abs(all.T), math.Abs(cropped))
	t.worst = max(t.worst, worst)
	if worst >= goalT || math.Abs(all.Median) > goalMedian {
		t.faults = append(t.faults, fmt.Errorf("%s can be told from %s by time", name, against))
	}
}

// addPlanted compares what must differ: by twice the goal, and by so much without the slowest
// tenth.
func (t *timingTable) addPlanted(name, against string, a, b []float64, cropped90 float64) {
	if all, cropped := t.write("PLANTED: "+name, against, a, b); all.T < 2*goalT || cropped < cropped90 {
		t.faults = append(t.faults, fmt.Errorf("a build with a mistake, %s, is not seen, so that the rest says nothing", against))
	}
}

func (t *timingTable) write(name, against string, a, b []float64) (all stats.Comparison, cropped float64) {
	all, cropped = stats.Compare(a, b, t.random), stats.Welch(stats.Crop(a, b))
	difference := fmt.Sprintf("%+.3f ms (%+.3f to %+.3f)", all.Median, all.Low, all.High)
	fmt.Fprintf(&t.text, "\n  %-34s %-25s %6.3f ms %6.3f ms  %-30s %8.1f %9.1f %6.3f",
		name, against, all.MedianA, all.MedianB, difference, all.T, cropped, all.Auc)
	return all, cropped
}

// verdict is an error if there were enough requests of each class for one, and it is bad.
func (t *timingTable) verdict(n int) (string, error) {
	text := fmt.Sprintf(timingHead, "class", "compared with", "median", "median", "difference (95 % interval)", "t", "t of 90 %", "AUC") + t.text.String()
	switch {
	case n < enoughRequests:
		return text + fmt.Sprintf("\n  no verdict: that takes %d requests of each class, -trials %d", enoughRequests, 1+enoughRequests/requestsPerTrial), nil
	case len(t.faults) > 0:
		return "", fmt.Errorf("%s\n%w", text, errors.Join(t.faults...))
	}
	return text + fmt.Sprintf("\n  none can be told from another: |t| < %.1f, medians within %.0f ms; the planted builds are seen", goalT, goalMedian), nil
}

// loginClass is a kind of account, and the password that is tried on it.
type loginClass struct {
	name      string
	usernames []string
	password  string
}

// loginClasses makes the accounts: the first class has none, the second is the plain case.
func (s *Run) loginClasses(ctx context.Context, client *http.Client, base string) ([]loginClass, error) {
	classes := []loginClass{
		{name: "unknown", password: wrongPassword},
		{name: "known", password: wrongPassword},
		{name: "known, an admin", password: wrongPassword},
		{name: "disabled", password: wrongPassword},
		{name: "disabled, right password", password: api.Password},
		{name: "hash of cost 4", password: wrongPassword},
		{name: "known, with an app", password: wrongPassword},
		{name: "known, with a passkey", password: wrongPassword},
	}
	for n := range classes {
		for range accounts {
			classes[n].usernames = append(classes[n].usernames, randomName())
		}
		if classes[n].name == "unknown" {
			continue
		}
		for _, name := range classes[n].usernames {
			if err := api.Register(ctx, base, name); err != nil {
				return nil, err
			}
		}
	}
	cheap, err := bcrypt.GenerateFromPassword([]byte(api.Password), bcrypt.MinCost)
	if err != nil {
		return nil, err
	}
	_, admins := s.Pool.Exec(ctx, "INSERT INTO user_roles (user_id, role_name) SELECT id, 'admin' FROM users WHERE username = ANY ($1)", classes[2].usernames)
	_, bans := s.Pool.Exec(ctx, "UPDATE users SET disabled_at = now() WHERE username = ANY ($1)", append(classes[3].usernames, classes[4].usernames...))
	_, imports := s.Pool.Exec(ctx, "UPDATE users SET password_hash = $2 WHERE username = ANY ($1)", classes[5].usernames, string(cheap))
	_, apps := s.GiveApps(ctx, classes[6].usernames)
	_, passkeys := s.GivePasskeys(ctx, classes[7].usernames)
	_, analyzed := s.Pool.Exec(ctx, "VACUUM ANALYZE")
	return classes, errors.Join(admins, bans, imports, apps, passkeys, analyzed)
}

// randomName says nothing of its class, not by its length either.
func randomName() string { return "u" + strings.ReplaceAll(uuid.NewString(), "-", "") }

// timedClass is a kind of request. Once sends one and returns the milliseconds. Its number n grows
// with each.
type timedClass struct {
	name string
	once func(ctx context.Context, n int) (float64, error)
}

// timeLogins times n logins of each class, in milliseconds. All are refused with 401.
func timeLogins(ctx context.Context, client *http.Client, base string, classes []loginClass, n int, random *rand.Rand) ([][]float64, error) {
	var timed []timedClass
	for _, class := range classes {
		timed = append(timed, timedClass{class.name, func(ctx context.Context, n int) (float64, error) {
			return timeLogin(ctx, client, base, class.usernames[n%accounts], class.password, http.StatusUnauthorized)
		}})
	}
	return timeClasses(ctx, timed, n, random)
}

// timeClasses times n requests of each class, in milliseconds. Before that it sends warmUps, so
// that connections, statements and caches are ready when it counts.
func timeClasses(ctx context.Context, classes []timedClass, n int, random *rand.Rand) ([][]float64, error) {
	for _, class := range classes {
		for i := range warmUps {
			if _, err := class.once(ctx, i); err != nil {
				return nil, fmt.Errorf("%s: %w", class.name, err)
			}
		}
	}
	times := make([][]float64, len(classes))
	for _, at := range shuffled(len(classes), n, random) {
		took, err := classes[at].once(ctx, warmUps+len(times[at]))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", classes[at].name, err)
		}
		times[at] = append(times[at], took)
	}
	return times, nil
}

// timeCodes times n wrong codes of each class of users with second factors, in milliseconds. All
// are refused with 400. One service takes the passwords, and one the codes.
func (s *Run) timeCodes(ctx context.Context, client *http.Client, passwords, codes string, classes []loginClass, n int, random *rand.Rand) ([][]float64, error) {
	var timed []timedClass
	for _, class := range classes {
		var forms []string
		for _, username := range class.usernames {
			begun, err := api.Grant(ctx, client, passwords, api.LoginForm(username, api.Password))
			if begun.AuthSession == "" {
				return nil, err
			}
			forms = append(forms, url.Values{
				"auth_session": {begun.AuthSession}, "otp": {"000000"}, "code_challenge": {strings.Repeat("A", 43)}, "code_challenge_method": {"S256"},
			}.Encode())
		}
		timed = append(timed, timedClass{class.name, func(ctx context.Context, n int) (float64, error) {
			if n%accounts == 0 { // after 100 in a row the account is locked
				if _, err := s.Pool.Exec(ctx, "UPDATE users SET factor_failures = NULL WHERE factor_failures > 0"); err != nil {
					return 0, err
				}
			}
			return timePost(ctx, client, codes+"/authorize-challenge", api.FormType, forms[n%accounts], http.StatusBadRequest)
		}})
	}
	return timeClasses(ctx, timed, n, random)
}

// timeLimited times refusals of n unknown and n known accounts that have used up their limit: the
// first of each account, which the database says, and the second, which the replica remembers. All
// are refused with 429.
func (s *Run) timeLimited(ctx context.Context, client *http.Client, base string, n int, random *rand.Rand) (first, second [2][]float64, err error) {
	names := make([]string, n)
	for i := range names {
		names[i] = randomName()
	}
	if _, err := s.Pool.Exec(ctx, `INSERT INTO users (id, username, username_key, password_hash)
		SELECT gen_random_uuid(), name, name, '$2b$04$' || repeat('h', 53) FROM unnest($1::text[]) name`, names); err != nil {
		return first, second, err
	}
	for _, known := range shuffled(2, n, random) {
		name := randomName()
		if known == 1 {
			name, names = names[0], names[1:]
		}
		if _, err := timeLogin(ctx, client, base, name, wrongPassword, http.StatusUnauthorized); err != nil {
			return first, second, err
		}
		for _, times := range []*[]float64{&first[known], &second[known]} {
			took, err := timeLogin(ctx, client, base, name, wrongPassword, http.StatusTooManyRequests)
			if err != nil {
				return first, second, err
			}
			*times = append(*times, took)
		}
	}
	return first, second, nil
}

// timeLogin is in milliseconds, until the answer has come whole.
func timeLogin(ctx context.Context, client *http.Client, base, username, pw string, want int) (float64, error) {
	return timePost(ctx, client, base+"/token", api.FormType, api.LoginForm(username, pw), want)
}

// timePost is in milliseconds, until the answer has come whole.
func timePost(ctx context.Context, client *http.Client, url, contentType, body string, want int) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", contentType)
	began := time.Now()
	status, answer, err := api.Answer(client, request)
	took := time.Since(began)
	if err == nil && status != want {
		err = fmt.Errorf("%s: %d in place of %d: %s", request.URL.Path, status, want, answer)
	}
	return float64(took.Nanoseconds()) / 1e6, err
}

func shuffled(classes, n int, random *rand.Rand) []int {
	order := make([]int, 0, classes*n)
	for class := range classes {
		for range n {
			order = append(order, class)
		}
	}
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	return order
}
