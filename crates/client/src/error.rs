//! What can go wrong between a caller and the service, and what is worth trying again.

/// Why a call got no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The network or the canister rejected the call.
    #[error("{code} ({error_code}): {message}")]
    Rejected {
        /// The Internet Computer's reject code.
        code: RejectCode,
        /// The replica's own code, `"IC0502"`; empty where it gave none.
        error_code: String,
        /// The text that came with it.
        message: String,
    },
    /// No answer came from the other end.
    #[error("cannot reach {endpoint}: {message}")]
    Unreachable {
        /// Where the call went.
        endpoint: String,
        /// What the connection said.
        message: String,
    },
    /// The other end answered something that is not the protocol, or an answer that does not verify.
    #[error("{endpoint} gave an answer that cannot be used: {message}")]
    Protocol {
        /// Where the call went.
        endpoint: String,
        /// What is wrong with the answer.
        message: String,
    },
}

impl CallError {
    /// An [`CallError::Unreachable`].
    pub fn unreachable(endpoint: impl Into<String>, message: impl Into<String>) -> Self {
        CallError::Unreachable { endpoint: endpoint.into(), message: message.into() }
    }

    /// Whether the same call may succeed when it is made again. The first may have been executed all the same.
    pub fn is_transient(&self) -> bool {
        match self {
            CallError::Rejected { code, .. } => {
                matches!(code, RejectCode::SysTransient | RejectCode::SysUnknown)
            }
            CallError::Unreachable { .. } => true,
            CallError::Protocol { .. } => false,
        }
    }
}

/// The Internet Computer's reject codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectCode {
    /// 1: fatal system error.
    SysFatal,
    /// 2: transient system error, retry may help.
    SysTransient,
    /// 3: no such destination.
    DestinationInvalid,
    /// 4: the canister rejected the call itself.
    CanisterReject,
    /// 5: the canister trapped, broke a rule or a limit.
    CanisterError,
    /// 6: unknown outcome of a best-effort call.
    SysUnknown,
}

impl std::fmt::Display for RejectCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RejectCode::SysFatal => "fatal system error",
            RejectCode::SysTransient => "transient system error",
            RejectCode::DestinationInvalid => "no such destination",
            RejectCode::CanisterReject => "rejected by the canister",
            RejectCode::CanisterError => "the canister failed",
            RejectCode::SysUnknown => "unknown outcome",
        })
    }
}

/// Why a method of [`Client`](crate::Client) gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The call itself failed.
    #[error("{method}: {error}")]
    Call {
        /// The service method.
        method: &'static str,
        /// What the transport said.
        error: CallError,
    },
    /// The service answered an error.
    #[error("{error}")]
    Service {
        /// The service method.
        method: &'static str,
        /// What the service said.
        error: ic_nn_types::Error,
    },
    /// The reply is not of the type that the interface names.
    #[error("{method}: the reply is not what the interface says: {message}")]
    Decode {
        /// The service method.
        method: &'static str,
        /// What the decoder said.
        message: String,
    },
    /// The service answered an upload with a status that contradicts itself or what was sent.
    #[error("upload of {name}: {message}")]
    Upload {
        /// The model's name.
        name: String,
        /// What contradicts what.
        message: String,
    },
    /// The parts of an output that the service answered do not make one tensor.
    #[error("output `{name}`: {message}")]
    Tensor {
        /// The output's name.
        name: String,
        /// What contradicts what.
        message: String,
    },
}

impl ClientError {
    /// The service's error, where it is one.
    pub fn service(&self) -> Option<&ic_nn_types::Error> {
        match self {
            ClientError::Service { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Whether the same call may succeed when it is made again.
    pub fn is_transient(&self) -> bool {
        matches!(self, ClientError::Call { error, .. } if error.is_transient())
    }
}
