//! Why a sign-in fails, or an issuer, one variant a reason. `Display` is for the log and never holds a token or a secret;
//! pages show the code and fixed text.

use http::StatusCode;

/// Why a sign-in failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoginError {
    /// Metadata, keys, token or userinfo endpoint do not answer.
    #[error("the provider `{provider}` is unreachable: {detail}")]
    Unreachable {
        /// The provider's name.
        provider: String,
        /// What failed.
        detail: String,
    },
    /// As many sign-ins as we take at once are waiting for this provider.
    #[error("too many sign-ins at once")]
    Busy,
    /// The provider answers what the standards do not allow.
    #[error("the provider's answer cannot be used: {0}")]
    Answer(String),
    /// A parameter of the callback is repeated, too long or not UTF-8.
    #[error("the parameter `{0}` of the callback is repeated, too long or not text")]
    Parameter(&'static str),
    /// No `state`.
    #[error("the callback has no `state`")]
    StateMissing,
    /// A `state` that is not the attempt's.
    #[error("the `state` of the callback is not that of the attempt")]
    StateForeign,
    /// A `state` that was used before.
    #[error("the `state` of the callback was used before")]
    StateReused,
    /// The attempt is of another provider than the callback.
    #[error("the attempt was begun with the provider `{0}`")]
    AttemptForeign(String),
    /// The attempt is older than ten minutes, or from the future.
    #[error("the attempt is older than ten minutes")]
    AttemptExpired,
    /// The provider promises `iss` and did not send it (RFC 9207 section 2.4).
    #[error("the callback has no `iss`, which the provider promises")]
    IssuerMissing,
    /// `iss` names another issuer.
    #[error("the callback is from another issuer")]
    IssuerForeign,
    /// Neither `code` nor `error`.
    #[error("the callback has no `code`")]
    CodeMissing,
    /// The person or the provider said no (`access_denied`).
    #[error("the provider denied access")]
    AccessDenied,
    /// The provider answers the authorization request with another error (OpenID Connect Core 3.1.2.6).
    #[error("the provider answers `{0}`")]
    Refused(String),
    /// The code was used before, is too old, or is not ours (`invalid_grant`).
    #[error("the provider does not take the code")]
    CodeRefused,
    /// The token endpoint refuses us, which is a matter of configuration.
    #[error("the token endpoint answers `{0}`")]
    ClientRefused(String),
    /// The ID token is not to be believed.
    #[error("the ID token is refused: {0}")]
    IdToken(#[from] TokenFault),
    /// What the provider says of the person cannot be taken.
    #[error("the claims are refused: {0}")]
    Claims(#[from] ClaimFault),
}

/// Why an ID token is refused (OpenID Connect Core section 3.1.3.7, RFC 8725).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenFault {
    /// None came.
    #[error("there is none")]
    Missing,
    /// No compact JWS with a JSON object, or an algorithm that is not known, `none` among them.
    #[error("it is no signed JSON web token")]
    Malformed,
    /// Larger than 32 KiB.
    #[error("it is too large")]
    TooLarge,
    /// `typ` of another kind of token (RFC 8725 section 3.11).
    #[error("it is another kind of token")]
    Type,
    /// `crit` (RFC 7515 section 4.1.11), of which we know no extension.
    #[error("it has critical header fields")]
    Critical,
    /// `alg` is none that we and the issuer use.
    #[error("its algorithm is not one that we and the issuer use")]
    Algorithm,
    /// No key of the issuer has this id and is for this algorithm.
    #[error("its key is not known")]
    UnknownKey,
    /// The signature does not verify.
    #[error("its signature does not verify")]
    Signature,
    /// A claim is missing or of the wrong type.
    #[error("its claim `{0}` is missing or of the wrong type")]
    Claim(&'static str),
    /// `iss`.
    #[error("it is from another issuer")]
    Issuer,
    /// `aud`.
    #[error("it is for another audience, or for others too")]
    Audience,
    /// `azp`.
    #[error("it was issued to another client")]
    AuthorizedParty,
    /// `exp`.
    #[error("it has expired")]
    Expired,
    /// `nbf`, or `iat` in the future.
    #[error("it is not valid yet")]
    Early,
    /// `iat` more than ten minutes ago.
    #[error("it was issued too long ago")]
    Stale,
    /// `nonce`.
    #[error("its nonce is not that of the sign-in")]
    Nonce,
    /// At a refresh: another `auth_time` than before.
    #[error("its `auth_time` is not that of the sign-in")]
    AuthTime,
    /// `at_hash`.
    #[error("it does not belong to the access token")]
    AccessTokenHash,
    /// `sub`.
    #[error("its subject is empty, too long or not ASCII")]
    Subject,
    /// At a refresh: another `sub` than before.
    #[error("it is of another person")]
    OtherPerson,
}

/// Why the claims of a verified token, or those of the userinfo endpoint, are refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClaimFault {
    /// Userinfo speaks of somebody else (OpenID Connect Core section 5.3.2).
    #[error("userinfo is of another person")]
    UserinfoSubject,
    /// Userinfo is no JSON object; a signed one is not read.
    #[error("userinfo is no JSON object")]
    Userinfo,
    /// More groups than are taken.
    #[error("{0} groups, more than 1,000")]
    TooManyGroups(usize),
    /// Groups that are no list of text.
    #[error("the groups are no list of text")]
    Groups,
    /// More claims than are taken, in bytes.
    #[error("{0} bytes of claims, more than 32 KiB")]
    TooLarge(usize),
    /// No e-mail address that counts, of a domain that may sign in.
    #[error("no verified e-mail address of an allowed domain")]
    EmailDomain,
}

/// Why an issuer cannot be used, in kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IssuerFault {
    /// It does not answer.
    Unreachable,
    /// Its certificate is none that is trusted for its host.
    NotTrusted,
    /// The trust anchors that it would be held against cannot be used.
    TrustAnchors,
    /// Its identifier is no address that may be called.
    Identifier,
    /// It answers with another status than 200.
    Status,
    /// A document is larger than is read, or has more keys than are taken.
    TooLarge,
    /// The metadata are of another issuer.
    Mismatch,
    /// A document is not what the standards say.
    Document,
    /// It does not offer what sign-in needs.
    Unsupported,
    /// No key can verify a signature.
    NoUsableKeys,
}

impl LoginError {
    /// The stable name for audit, metrics and pages.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "provider_unreachable",
            Self::Busy => "too_many_sign_ins",
            Self::Answer(_) => "provider_answer_malformed",
            Self::Parameter(_) => "callback_malformed",
            Self::StateMissing => "state_missing",
            Self::StateForeign => "state_foreign",
            Self::StateReused => "state_reused",
            Self::AttemptForeign(_) => "attempt_foreign",
            Self::AttemptExpired => "attempt_expired",
            Self::IssuerMissing => "issuer_missing",
            Self::IssuerForeign => "issuer_foreign",
            Self::CodeMissing => "code_missing",
            Self::AccessDenied => "access_denied",
            Self::Refused(_) => "provider_refused",
            Self::CodeRefused => "code_refused",
            Self::ClientRefused(_) => "client_refused",
            Self::IdToken(fault) => fault.code(),
            Self::Claims(fault) => fault.code(),
        }
    }

    /// The status of the page: whose fault it is, as HTTP has it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unreachable { .. } | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Answer(_) | Self::Refused(_) | Self::ClientRefused(_) => StatusCode::BAD_GATEWAY,
            Self::AccessDenied | Self::IdToken(_) | Self::Claims(_) => StatusCode::FORBIDDEN,
            Self::Parameter(_)
            | Self::StateMissing
            | Self::StateForeign
            | Self::StateReused
            | Self::AttemptForeign(_)
            | Self::AttemptExpired
            | Self::IssuerMissing
            | Self::IssuerForeign
            | Self::CodeMissing
            | Self::CodeRefused => StatusCode::BAD_REQUEST,
        }
    }
}

impl TokenFault {
    /// The stable name.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "id_token_missing",
            Self::Malformed => "id_token_malformed",
            Self::TooLarge => "id_token_too_large",
            Self::Type => "id_token_type",
            Self::Critical => "id_token_critical",
            Self::Algorithm => "id_token_algorithm",
            Self::UnknownKey => "id_token_key",
            Self::Signature => "id_token_signature",
            Self::Claim(_) => "id_token_claim",
            Self::Issuer => "id_token_issuer",
            Self::Audience => "id_token_audience",
            Self::AuthorizedParty => "id_token_authorized_party",
            Self::Expired => "id_token_expired",
            Self::Early => "id_token_early",
            Self::Stale => "id_token_stale",
            Self::Nonce => "id_token_nonce",
            Self::AuthTime => "id_token_auth_time",
            Self::AccessTokenHash => "id_token_access_token_hash",
            Self::Subject => "id_token_subject",
            Self::OtherPerson => "id_token_other_person",
        }
    }
}

impl ClaimFault {
    /// The stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UserinfoSubject => "userinfo_subject",
            Self::Userinfo => "userinfo_malformed",
            Self::TooManyGroups(_) => "too_many_groups",
            Self::Groups => "groups_malformed",
            Self::TooLarge(_) => "claims_too_large",
            Self::EmailDomain => "email_domain",
        }
    }
}
