package gatehouse_test

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"gatehouse.example/internal/config"
)

var update = flag.Bool("update", false, "write the generated parts of the documents")

func TestTheDocumentsHaveTheSettingsAsTheyAre(t *testing.T) {
	t.Parallel()
	table, err := config.Markdown()
	if err != nil {
		t.Fatal(err)
	}
	holdPart(t, "docs/settings.md", "settings", table)
}

// Tests of package verify run the examples. This one is not parallel, since with -update it writes
// one file several times.
func TestTheDocumentsHaveTheExamplesAsTheyRun(t *testing.T) {
	for name, of := range map[string]struct{ file, function string }{
		"example":                   {"example_test.go", "Example"},
		"example of public keys":    {"example_test.go", "Example_publicKeys"},
		"example of a strong login": {"example_login_test.go", "Example_strongLogin"},
	} {
		holdPart(t, "docs/integrating.md", name, "```go\n"+program(t, of.file, of.function)+"```\n")
	}
	holdPart(t, "docs/integrating.md", "example in Python", "```python\n"+read(t, "docs/check_token.py")+"```\n")
	for file, language := range map[string]string{
		"login/main.go": "go", "fastapi_app.py": "python", "singlepage/index.html": "html", "singlepage/app.js": "js",
		"oauth2-proxy.cfg": "toml", "mod_auth_openidc.conf": "apache",
	} {
		holdPart(t, "docs/apps.md", "example "+file, "```"+language+"\n"+read(t, "docs/examples/"+file)+"```\n")
	}
}

// program is a whole program that does what an example of package verify does.
func program(t *testing.T, file, function string) string {
	t.Helper()
	source := read(t, "verify/"+file)
	imports, _, found := strings.Cut(source[strings.Index(source, "import ("):], "\n)\n")
	_, body, start := strings.Cut(source, "func "+function+"() {\n")
	body, _, end := strings.Cut(body, "\n}\n")
	if !found || !start || !end {
		t.Fatalf("verify has no %s", function)
	}
	return "package main\n\n" + imports + "\n)\n\nfunc main() {\n" + body + "\n}\n"
}

// holdPart compares the generated part of a document with what it should be, or writes it.
func holdPart(t *testing.T, document, name, want string) {
	t.Helper()
	begin, end := "<!-- "+name+": written by make generate -->\n", "<!-- end of "+name+" -->"
	before, rest, found := strings.Cut(read(t, document), begin)
	old, after, closed := strings.Cut(rest, end)
	switch {
	case !found || !closed:
		t.Fatalf("%s has no place for the %s", document, name)
	case old == want:
	case *update:
		if err := os.WriteFile(document, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s has another %s: run make generate", document, name)
	}
}

func TestTheREADMEIsReadInTwoMinutes(t *testing.T) {
	t.Parallel()
	if lines := strings.Count(read(t, "README.md"), "\n"); lines > 150 {
		t.Errorf("README.md has %d lines; 150 are allowed", lines)
	}
}

// A line that is too long is read with difficulty beside the code. The targets of links do not
// count, since they cannot be wrapped.
func TestTheLinesOfTheDocumentsFitBesideTheCode(t *testing.T) {
	t.Parallel()
	for _, name := range documents(t) {
		for _, line := range proseOf(read(t, name)) {
			width := utf8.RuneCountInString(linkTarget.ReplaceAllString(line.text, "]"))
			if width > 100 && !strings.HasPrefix(strings.TrimSpace(line.text), "|") {
				t.Errorf("%s:%d has %d columns", name, line.number, width)
			}
		}
	}
}

// Links within the repository break when a file or a heading is renamed.
func TestTheLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	t.Parallel()
	linked := map[string]bool{"README.md": true}
	names := documents(t)
	for _, name := range names {
		for _, line := range proseOf(read(t, name)) {
			for _, link := range linkAnywhere.FindAllStringSubmatch(inlineCode.ReplaceAllString(line.text, ""), -1) {
				target := link[1] + link[2]
				if strings.Contains(target, ":") { // of another site
					continue
				}
				path, anchor, _ := strings.Cut(target, "#")
				file := name
				if path != "" {
					file = filepath.Join(filepath.Dir(name), path)
				}
				if file != name {
					linked[file] = true
				}
				if _, err := os.Stat(file); err != nil {
					t.Errorf("%s:%d: there is no %s", name, line.number, target)
				} else if anchor != "" && !slices.Contains(anchorsOf(read(t, file)), anchor) {
					t.Errorf("%s:%d: %s has no heading %q", name, line.number, file, anchor)
				}
			}
		}
	}
	for _, name := range names {
		if strings.HasPrefix(name, "docs/") && !linked[name] {
			t.Errorf("no document leads to %s", name)
		}
	}
}

// Messages, comments and configurations name documents too.
func TestWhatNamesADocumentNamesOneThatIsThere(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile(`\bdocs/[a-z_/-]+\.(md|svg|py)\b`)
	for _, name := range tracked(t) {
		for _, document := range named.FindAllString(read(t, name), -1) {
			if _, err := os.Stat(document); err != nil {
				t.Errorf("%s names %s, which is not there", name, document)
			}
		}
	}
}

// Whoever looks for the place of something new reads the table of rooms first. Generators and
// helpers of tests live with their room.
func TestEveryRoomIsInTheTableOfTheHouse(t *testing.T) {
	t.Parallel()
	_, table, found := strings.Cut(read(t, "CONTRIBUTING.md"), "\n## The house\n")
	table, _, ended := strings.Cut(table, "\n## ")
	if !found || !ended {
		t.Fatal("CONTRIBUTING.md has no table of the house")
	}
	for name := range arrows() {
		own := strings.Count(name, "/") < 2 || strings.HasPrefix(name, "db/")
		if own && !strings.Contains(table, "`"+name+"`") {
			t.Errorf("the table of the house lacks %s", name)
		}
	}
}

// A reader who looks for a file that was renamed finds nothing.
func TestTheFilesThatTheDocumentsNameAreThere(t *testing.T) {
	t.Parallel()
	file := regexp.MustCompile("`((?:\\.ci|api|bench|cmd|db|deploy|docs|internal|migrations|verify)/[\\w./-]+)`")
	for _, name := range documents(t) {
		for _, line := range proseOf(read(t, name)) {
			for _, match := range file.FindAllStringSubmatch(line.text, -1) {
				if _, err := os.Stat(match[1]); err != nil && match[1] != "deploy/secrets/" {
					t.Errorf("%s:%d: there is no %s", name, line.number, match[1])
				}
			}
		}
	}
}

// A command that nothing runs is wrong after the next change. Each page with commands says above
// them what runs them: <!-- commands: .ci/readme --> or <!-- commands: TestName -->, which holds up
// to the next such line.
func TestEveryCommandOfTheDocumentsIsRunBySomething(t *testing.T) {
	t.Parallel()
	tests := testNames(t)
	runner := regexp.MustCompile(`^<!-- commands: (\S+) -->$`)
	for _, name := range documents(t) {
		by := ""
		for number, line := range strings.Split(read(t, name), "\n") {
			if match := runner.FindStringSubmatch(line); match != nil {
				by = match[1]
				if by != ".ci/readme" && by != "make" && !tests[by] {
					t.Errorf("%s:%d: there is no %s", name, number+1, by)
				}
			}
			if strings.TrimSpace(line) == "```sh" && by == "" && name != "docs/performance.md" {
				t.Errorf("%s:%d: nothing runs these commands", name, number+1)
			}
		}
	}
}

// A picture that is not well-formed is shown as a broken image, and one that loads something from
// elsewhere without it.
func TestPicturesAreWholeByThemselves(t *testing.T) {
	t.Parallel()
	pictures, _ := filepath.Glob("docs/*.svg")
	for _, name := range pictures {
		text := read(t, name)
		if strings.Contains(text, "href=") || strings.Contains(text, "url(http") {
			t.Errorf("%s loads something", name)
		}
		decoder := xml.NewDecoder(strings.NewReader(text))
		for {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
		}
	}
}

// Whoever looks for a rule that no Go code has must find it in one table; and whoever drops a
// trigger must learn which test should have failed.
func TestEveryTriggerIsInTheIndexOfRules(t *testing.T) {
	t.Parallel()
	made := triggers(t)
	tests := testNames(t)
	_, index, found := strings.Cut(read(t, "CONTRIBUTING.md"), "\n## Rules that live in triggers\n")
	if !found {
		t.Fatal("CONTRIBUTING.md has no index of rules")
	}
	index, _, _ = strings.Cut(index, "\n## ")
	quoted := regexp.MustCompile("`([A-Za-z0-9_]+)`")
	for line := range strings.Lines(index) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || strings.Contains(line, "---") || strings.Contains(line, "| trigger |") {
			continue
		}
		for _, trigger := range quoted.FindAllStringSubmatch(cells[2], -1) {
			migration, known := made[trigger[1]]
			if !known {
				t.Errorf("CONTRIBUTING.md names the trigger %s, which is not there, or twice", trigger[1])
			} else if !strings.Contains(cells[3], migration) {
				t.Errorf("the trigger %s is of migration %s", trigger[1], migration)
			}
			delete(made, trigger[1])
		}
		held := quoted.FindAllStringSubmatch(cells[4], -1)
		if len(held) == 0 {
			t.Errorf("no test holds %s", cells[2])
		}
		for _, test := range held {
			if !tests[test[1]] {
				t.Errorf("there is no %s", test[1])
			}
		}
	}
	for trigger, migration := range made {
		t.Errorf("CONTRIBUTING.md has no row for the trigger %s of migration %s", trigger, migration)
	}
}

// A requirement without a row is one that nobody has looked at. A row whose test is gone says that
// something is proved, and nothing proves it.
func TestEachRequirementOfTheASVSHasItsTestsOrAReason(t *testing.T) {
	t.Parallel()
	tests := testNames(t)
	quoted := regexp.MustCompile("`(Test\\w+)`")
	row := regexp.MustCompile(`^\| (\d+\.\d+\.\d+) \| [^|]+ \| ([^|]+) \|$`)
	reason := regexp.MustCompile(`^(Does not apply|Not met): |^Said in \[`)
	due, listed := requirements(), map[string]bool{}
	text, more, found := strings.Cut(read(t, "docs/asvs.md"), "\n## Level 3\n")
	if !found {
		t.Fatal("docs/asvs.md has no list of level 3")
	}
	for line := range strings.Lines(text + more) {
		for _, test := range quoted.FindAllStringSubmatch(line, -1) {
			if !tests[test[1]] {
				t.Errorf("there is no %s", test[1])
			}
		}
		cells := row.FindStringSubmatch(strings.TrimSpace(line))
		if cells == nil {
			continue
		}
		if listed[cells[1]] {
			t.Errorf("docs/asvs.md has %s twice", cells[1])
		}
		listed[cells[1]] = true
		if !quoted.MatchString(cells[2]) && !reason.MatchString(cells[2]) {
			t.Errorf("docs/asvs.md has neither a test nor a reason for %s", cells[1])
		}
		if early := strings.Contains(text, line); early != slices.Contains(due, cells[1]) {
			t.Errorf("%s is in the tables of levels 1 and 2: %t", cells[1], early)
		}
	}
	for _, number := range due {
		if !listed[number] {
			t.Errorf("docs/asvs.md lacks %s", number)
		}
	}
}

// requirements are those of levels 1 and 2 in chapters V6, V7, V9, V10 and V14 of the OWASP ASVS
// 5.0.0. They come before those of level 3 in each section.
func requirements() []string {
	var numbers []string
	for section, last := range map[string]int{
		"6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4, "6.5": 5, "6.6": 3, "6.8": 4,
		"7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 2, "7.6": 2,
		"9.1": 3, "9.2": 4,
		"10.1": 2, "10.2": 2, "10.3": 4, "10.4": 11, "10.5": 5, "10.6": 2, "10.7": 3,
		"14.1": 2, "14.2": 4, "14.3": 3,
	} {
		for n := range last {
			numbers = append(numbers, section+"."+strconv.Itoa(n+1))
		}
	}
	return numbers
}

// triggers are those that the migrations leave, each with the number of the one that made it last.
func triggers(t *testing.T) map[string]string {
	t.Helper()
	change := regexp.MustCompile(`(?m)^(CREATE(?: OR REPLACE)?|DROP) TRIGGER (?:IF EXISTS )?(\w+)`)
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal("no migrations", err)
	}
	made := map[string]string{}
	for _, file := range files { // in the order of their numbers
		up, _, _ := strings.Cut(read(t, file), "-- +goose Down")
		for _, match := range change.FindAllStringSubmatch(up, -1) {
			if match[1] == "DROP" {
				delete(made, match[2])
			} else {
				made[match[2]] = filepath.Base(file)[:5]
			}
		}
	}
	return made
}

// testNames are those of every test in the repository.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	names := map[string]bool{}
	for _, name := range tracked(t) {
		if strings.HasSuffix(name, "_test.go") {
			for _, match := range function.FindAllStringSubmatch(read(t, name), -1) {
				names[match[1]] = true
			}
		}
	}
	return names
}

// tracked are the text files of the repository, also those that are not committed yet.
func tracked(t *testing.T) []string {
	t.Helper()
	var names []string
	for name := range strings.SplitSeq(strings.TrimSpace(run(t, ".", "git", "ls-files", "--cached", "--others", "--exclude-standard")), "\n") {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			names = append(names, name)
		}
	}
	return names
}

// documents are the Markdown files of the repository.
func documents(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(tracked(t), func(name string) bool { return !strings.HasSuffix(name, ".md") })
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	linkTarget   = regexp.MustCompile(`\]\([^)]*\)`)
	linkAnywhere = regexp.MustCompile(`\]\(([^) ]+)[^)]*\)|(?:src|srcset|href)="([^"]+)"`)
	inlineCode   = regexp.MustCompile("`[^`]*`")
	heading      = regexp.MustCompile(`^#{1,6} +(.*)$`)
)

type textLine struct {
	number int
	text   string
}

// proseOf is a document without its blocks of code and its generated parts.
func proseOf(text string) []textLine {
	var lines []textLine
	code, generated := false, false
	for n, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			code = !code
		case strings.HasPrefix(line, "<!--") && strings.Contains(line, ": written by "):
			generated = true
		case strings.HasPrefix(line, "<!-- end of "):
			generated = false
		case !code && !generated:
			lines = append(lines, textLine{n + 1, line})
		}
	}
	return lines
}

// anchorsOf are the names by which links lead to the headings of a document, as GitHub makes them.
func anchorsOf(text string) []string {
	var anchors []string
	times := map[string]int{}
	for _, line := range proseOf(text) {
		match := heading.FindStringSubmatch(line.text)
		if match == nil {
			continue
		}
		anchor := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, match[1])
		times[anchor]++
		if n := times[anchor]; n > 1 {
			anchor += "-" + string(rune('0'+n-1))
		}
		anchors = append(anchors, anchor)
	}
	return anchors
}

// What the README shows of an app would be no app: the whole one is run by a test.
func TestTheAppOfTheREADMEIsTheOneThatIsRun(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	app, err := os.ReadFile("docs/examples/login/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, ok := strings.Cut(string(readme), "```go\n")
	shown, _, closed := strings.Cut(shown, "```")
	if !ok || !closed || !strings.Contains(string(app), shown) {
		t.Errorf("it is not in docs/examples/login/main.go:\n%s", shown)
	}
}
