"""What all our resources share: the base of the models, lenient reading of a status, and a few exact types.

Attributes are snake_case, the JSON is camelCase. Every field has a description, which becomes `kubectl explain`.
"""

from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUseDefault

from controllers.api.times import epoch

GROUP = "data.fluid.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

INT64_MAX = 2**63 - 1
TEXT_LENGTH = 1024


class Model(BaseModel):
    """Immutable, and tolerant when read: unknown fields are ignored, null reads as absent."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        use_enum_values=False,
    )

    @classmethod
    def read(cls, data: object, *, lenient: bool = False) -> Self:
        """Read the JSON form. Lenient: a field that does not fit reads as its default; never raises then."""
        if lenient and not isinstance(data, dict):
            data = {}
        return cls.model_validate(without_null(data), context={"lenient": lenient})

    @field_validator("*", mode="wrap")
    @classmethod
    def _fall_back(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            return handler(value)
        except ValidationError:
            if info.context and info.context.get("lenient"):
                raise PydanticUseDefault from None
            raise


def without_null(value: Any) -> Any:
    """Return the JSON value without the keys that are null, at any depth: null means absent in Kubernetes."""
    if isinstance(value, dict):
        return {key: without_null(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_null(item) for item in value]
    return value


def _rfc3339(text: str) -> str:
    if text and epoch(text) is None:
        raise ValueError("not a time as in RFC 3339")
    return text


def _cut(text: str) -> str:
    return text[:TEXT_LENGTH]


#: Marks a field of a spec that is read, so that objects of Fluid or of a later release apply, and not acted on.
UNSERVED = Field(json_schema_extra={"x-unserved": True})
#: The same, but acted on where the Alluxio is the Dataset's own: nobody's mounts are changed behind his back.
UNSERVED_ELSEWHERE = Field(json_schema_extra={"x-unserved-elsewhere": True})
#: A number of things: fits int64, which is what the API server keeps.
Count = Annotated[int, Field(ge=0, le=INT64_MAX, json_schema_extra={"format": "int64"})]
#: The difference of two of them.
Difference = Annotated[int, Field(ge=-INT64_MAX, le=INT64_MAX, json_schema_extra={"format": "int64"})]
#: RFC 3339 with an offset, or "" for not yet.
Time = Annotated[str, AfterValidator(_rfc3339), Field(json_schema_extra={"format": "date-time"})]
#: Text in a status: what is longer is cut, so that a status stays small whatever a container or another hand says. Also
#: when it is written: the API server refuses a longer one, and model_copy() does not look.
Text = Annotated[str, AfterValidator(_cut), PlainSerializer(_cut), Field(json_schema_extra={"maxLength": TEXT_LENGTH})]


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Return what makes the API server check these CEL rules; each has the message for who breaks it."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def normal_path(path: str) -> str:
    """Return an Alluxio path with one slash between names and none at the end, except for the root."""
    return "/" + "/".join(name for name in path.split("/") if name)


def is_unserved(info: FieldInfo, *, managed: bool = False) -> bool:
    """Return whether a field is marked UNSERVED; or, unless the Alluxio is ``managed``, UNSERVED_ELSEWHERE."""
    marks = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    return bool(marks.get("x-unserved") or (marks.get("x-unserved-elsewhere") and not managed))
