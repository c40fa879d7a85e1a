package recognise

import (
	"regexp"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/checklist"
)

var (
	codeSpan = regexp.MustCompile("`([^`]+)`")
	// shellWords are what only a shell understands, and what stands for something
	// that people fill in.
	shellWords  = regexp.MustCompile("[|&;<>$`*?~\\\\\\[\\](){}!#]|[Yy]our[-_.]|\\bYYYY|\\bX\\.Y")
	dangerous   = regexp.MustCompile(`(?i)\brm\b|\bdestroy\b|\bdrop\b|\bdelete\b|reset --hard|--force|\bpush -f\b|\bsudo\b|\btruncate\b|\bflushall\b`)
	neverEnding = regexp.MustCompile(`\s(-f|--follow|-w|--watch|-it|-ti)\b|^(vi|vim|nano|less|top|htop|ssh|psql|watch|tail)\b`)
)

// ownCommand gives the command that an item carries in a fence or in its text,
// when it can be run as it is: one line, no shell, nothing that destroys or does
// not end. changes tells that it is not known to be read-only.
func ownCommand(item *checklist.Item) (argv []string, changes, ok bool) {
	var lines []string
	for _, c := range item.Code {
		if slices.Contains([]string{"", "bash", "sh", "shell", "console", "zsh"}, c.Language) {
			lines = append(lines, commandLines(c.Text)...)
		}
	}
	if len(item.Code) == 0 {
		for _, m := range codeSpan.FindAllStringSubmatch(item.Raw, -1) {
			if first, _, spaced := strings.Cut(m[1], " "); spaced && slices.Contains(programs(), first) {
				lines = append(lines, m[1])
			}
		}
	}
	if len(lines) != 1 {
		return nil, false, false
	}
	line := lines[0]
	if shellWords.MatchString(line) || dangerous.MatchString(line) || neverEnding.MatchString(line) {
		return nil, false, false
	}
	argv, ok = splitWords(line)
	return argv, !readOnly(argv), ok && len(argv) > 0
}

func commandLines(text string) []string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
		if line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

// splitWords splits at spaces outside quotation marks.
func splitWords(line string) ([]string, bool) {
	var out []string
	var word strings.Builder
	quote, inWord := rune(0), false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, inWord = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if inWord {
				out = append(out, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if inWord {
		out = append(out, word.String())
	}
	return out, quote == 0
}

// programs are the first words by which a code span is known as a command.
func programs() []string {
	return []string{"ansible", "ansible-playbook", "artisan", "aws", "az", "bundle", "cargo", "celery", "composer", "curl", "docker",
		"docker-compose", "fly", "gcloud", "git", "go", "gradle", "helm", "heroku", "kubectl", "make", "mvn", "nginx", "npm", "npx", "php",
		"pip", "pip-audit", "pnpm", "poetry", "pytest", "python", "python3", "rails", "rake", "redis-cli", "ruff", "systemctl", "terraform", "tofu", "uv",
		"vercel", "yarn"}
}

// readOnly knows the commands that change nothing by what they begin with.
func readOnly(argv []string) bool {
	line := strings.Join(argv, " ")
	if argv == nil || strings.Contains(line, " --fix") || strings.Contains(line, " -X ") || strings.Contains(line, " -d ") {
		return false
	}
	for _, prefix := range []string{"pytest", "go test", "go vet", "go build", "npm test", "npm run test", "npm run lint", "npm audit", "yarn test",
		"yarn lint", "pnpm test", "pnpm lint", "make test", "make lint", "make check", "cargo test", "cargo clippy", "cargo check", "ruff check",
		"curl ", "git status", "git log", "git diff", "git describe", "git rev-parse", "kubectl get", "kubectl describe", "kubectl version",
		"kubectl rollout status", "docker ps", "docker compose ps", "docker-compose ps", "docker compose config", "docker-compose config", "docker version",
		"helm lint", "helm status", "terraform validate", "terraform plan", "terraform fmt -check", "nginx -t", "systemctl status", "systemctl is-active",
		"python manage.py check", "python manage.py test", "python manage.py showmigrations", "pip-audit", "mvn verify", "mvn test", "composer audit"} {
		if line == prefix || strings.HasPrefix(line, strings.TrimSuffix(prefix, " ")+" ") {
			return true
		}
	}
	return false
}
