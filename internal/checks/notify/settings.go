package notify

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/mail"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

// slackSettings say how Slack's Web API is reached.
type slackSettings struct {
	Token secret.Ref `param:"token" doc:"reference to the bot token; env:SLACK_BOT_TOKEN when left out" default:""`
	API   string     `param:"api" doc:"address of the Web API" default:"https://slack.com/api"`
}

func (s slackSettings) token() secret.Ref {
	if s.Token.IsZero() {
		return secret.Ref{Scheme: "env", Name: "SLACK_BOT_TOKEN"}
	}
	return s.Token
}

func (s slackSettings) api() string { return cmp.Or(s.API, "https://slack.com/api") }

// mailSettings say how mail is handed over.
type mailSettings struct {
	Host       string      `param:"host" doc:"name of the mail server, as its certificate has it" default:"${env.smtp_host}"`
	Port       int         `param:"port" doc:"587 for STARTTLS, 465 for TLS from the first byte" default:"587"`
	TLS        string      `param:"tls" doc:"starttls, implicit or none; implicit on port 465 and starttls elsewhere when left out" default:"" enum:"starttls,implicit,none"`
	CA         string      `param:"ca" doc:"file with the certificates (PEM) of the authority that is trusted instead of the system's" default:""`
	User       string      `param:"user" doc:"name to log in with; nobody logs in when left out" default:""`
	Password   secret.Ref  `param:"password" doc:"reference to the password or API key of user" default:""`
	From       string      `param:"from" doc:"sender, with or without a name"`
	Subject    string      `param:"subject" doc:"subject; the first line of the message when left out" default:""`
	Column     string      `param:"column" doc:"column of a CSV file that holds the addresses" default:"email"`
	Rate       int         `param:"rate" doc:"most messages in a minute; 0 does not limit them" default:"0"`
	MaxRefused check.Share `param:"max_refused" doc:"part of the recipients that the server may refuse" default:"0%"`
}

func (s mailSettings) mode() string { return mail.Mode(s.TLS, s.Port) }

func (s mailSettings) validate() error {
	switch {
	case s.From == "":
		return errors.New("email: say from whom, and through which host")
	case s.Host == "" || strings.ContainsAny(s.Host, " /@\r\n") || strings.HasPrefix(s.Host, "-"):
		return errors.New("email.host: want the name of a mail server")
	case s.Port < 1 || s.Port > 65535:
		return errors.New("email.port: want a port from 1 to 65535")
	case (s.User == "") != s.Password.IsZero():
		return errors.New("email: user and password belong together")
	case s.User != "" && s.mode() == mail.Plain:
		return errors.New("email.tls: none would send the password in the clear")
	case s.Rate < 0:
		return errors.New("email.rate: want a number of messages in a minute")
	case s.MaxRefused > 1:
		return errors.New("email.max_refused: want a part from 0% to 100%")
	case strings.ContainsAny(s.Subject, "\r\n"):
		return errors.New("email.subject: want one line")
	}
	_, err := mail.Address(s.From)
	return err
}

// The events of PagerDuty.
const (
	trigger = "trigger"
	change  = "change"
)

// pageSettings say what PagerDuty is told.
type pageSettings struct {
	Event    string `param:"event" doc:"change (pages nobody), trigger, acknowledge or resolve" default:"change" enum:"change,trigger,acknowledge,resolve"`
	Severity string `param:"severity" doc:"severity of a trigger" default:"info" enum:"critical,error,warning,info"`
	DedupKey string `param:"dedup_key" doc:"key that joins trigger, acknowledge and resolve; allclear/PROJECT/ENVIRONMENT/RUN when left out" default:""`
	API      string `param:"api" doc:"address of the Events API; the EU's is https://events.eu.pagerduty.com" default:"https://events.pagerduty.com"`
}

func (s pageSettings) event() string { return cmp.Or(s.Event, change) }

func (s pageSettings) api() string { return cmp.Or(s.API, "https://events.pagerduty.com") }

func (s pageSettings) validate() error {
	const most = 255 // PagerDuty, "Send an Alert Event"
	if len(s.DedupKey) > most {
		return fmt.Errorf("pagerduty.dedup_key: longer than %d characters", most)
	}
	return rest.CheckBase(s.api())
}

// hookSettings say what webhooks get.
type hookSettings struct {
	Method     string                 `param:"method" doc:"method of the request" default:"POST" enum:"POST,PUT,PATCH"`
	Headers    map[string]headerValue `param:"headers" doc:"headers to add; a value env:NAME, file:PATH or cmd:LINE is a reference" default:""`
	Sign       secret.Ref             `param:"sign" doc:"reference to the key with which the body is signed (HMAC with SHA-256)" default:""`
	SignHeader string                 `param:"sign_header" doc:"header of the signature, sha256=HEX" default:"X-Signature-256"`
	Body       string                 `param:"body" doc:"JSON of its own, in which {{text}}, {{id}}, {{release}} and so on become JSON strings" default:""`
}

// headerValue is a text or a reference to one.
type headerValue struct {
	text string
	ref  secret.Ref
}

// UnmarshalText reads a value.
func (h *headerValue) UnmarshalText(text []byte) error {
	scheme, _, colon := strings.Cut(string(text), ":")
	if colon && slices.Contains(secret.Schemes(), scheme) {
		ref, err := secret.ParseRef(string(text))
		*h = headerValue{ref: ref}
		return err
	}
	if strings.ContainsAny(string(text), "\r\n\x00") {
		return errors.New("want one line")
	}
	*h = headerValue{text: string(text)}
	return nil
}

func (s hookSettings) method() string { return cmp.Or(s.Method, http.MethodPost) }

func (s hookSettings) signHeader() string { return cmp.Or(s.SignHeader, "X-Signature-256") }

func (s hookSettings) validate() error {
	names := []string{s.signHeader()}
	for name := range s.Headers {
		names = append(names, name)
	}
	for _, name := range names {
		if strings.ContainsFunc(name, func(r rune) bool {
			return !strings.ContainsRune("-_", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		}) || name == "" {
			return fmt.Errorf("webhook.headers: %q is not a header's name", name)
		}
	}
	if s.Body == "" {
		return nil
	}
	_, err := fill(s.Body, example(), true)
	if err != nil {
		return fmt.Errorf("webhook.body: %w", err)
	}
	return nil
}
