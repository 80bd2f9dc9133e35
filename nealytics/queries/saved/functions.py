"""The functions that a saved query may call. All others are refused.

A list of what is permitted, since ClickHouse gains functions with each version, and some of them read files,
dictionaries, settings, other tables or servers (`file`, `dictGet`, `joinGet`, `getSetting`, `aiGenerate`), or
run something (`sleep`, `evalMLMethod`, functions of users). Names are compared without case.
"""

from typing import Final

_PLAIN = """
    and or not xor if multiif casewithexpression casewithoutexpression clamp greatest least
    equals notequals less lessorequals greater greaterorequals isdistinctfrom isnotdistinctfrom
    in notin globalin globalnotin nullin notnullin exists
    isnull isnotnull iszeroornull isnullable coalesce ifnull nullif assumenotnull tonullable firstnondefault
    plus minus multiply divide divideornull dividedecimal multiplydecimal modulo mod moduloornull pmod
    positivemodulo positive_modulo intdiv intdivornull intdivorzero moduloorzero negate abs sqr gcd lcm
    max2 min2 midpoint isfinite isinfinite isnan ifnotfinite
    acos acosh asin asinh atan atan2 atanh cbrt cos cosh degrees e erf exp exp10 exp2 hypot ln log log10 log1p
    log2 pi pow power radians sigmoid sign sin sinh sqrt tan tanh width_bucket widthbucket
    ceil ceiling floor round roundage roundbankers rounddown roundduration roundtoexp2 trunc truncate
    bitand bitcount bitnot bitor bitshiftleft bitshiftright bittest bitxor
    cast _cast accuratecast accuratecastordefault accuratecastornull todate todate32 todateornull
    todateordefault todateorzero date todatetime todatetimeornull todatetimeordefault todatetimeorzero
    todatetime64 todatetime64ornull todatetime64ordefault todatetime64orzero tostring tofixedstring tobool
    touuid touuidornull touuidordefault touuidorzero tolowcardinality todecimalstring
    todecimal32 todecimal64 todecimal128 todecimal32ornull todecimal64ornull todecimal128ornull
    todecimal32orzero todecimal64orzero todecimal128orzero todecimal32ordefault todecimal64ordefault
    todecimal128ordefault tofloat32 tofloat64 tofloat32ornull tofloat64ornull tofloat32orzero tofloat64orzero
    tofloat32ordefault tofloat64ordefault toint8 toint16 toint32 toint64 touint8 touint16 touint32 touint64
    toint8ornull toint16ornull toint32ornull toint64ornull touint8ornull touint16ornull touint32ornull
    touint64ornull toint8orzero toint16orzero toint32orzero toint64orzero touint8orzero touint16orzero
    touint32orzero touint64orzero toint8ordefault toint16ordefault toint32ordefault toint64ordefault
    touint8ordefault touint16ordefault touint32ordefault touint64ordefault
    tointervalsecond tointervalminute tointervalhour tointervalday tointervalweek tointervalmonth
    tointervalquarter tointervalyear tointervalmillisecond
    fromunixtimestamp fromunixtimestamp64milli fromunixtimestamp64second from_unixtime tounixtimestamp
    tounixtimestamp64milli tounixtimestamp64second parsedatetime parsedatetimeornull parsedatetimebesteffort
    parsedatetimebesteffortornull parsedatetimebesteffortorzero parsedatetime64besteffort
    parsedatetime64besteffortornull parsedatetime64besteffortorzero str_to_date
    adddate adddays addhours addinterval addminutes addmonths addquarters addseconds addweeks addyears
    subdate subtractdays subtracthours subtractinterval subtractminutes subtractmonths subtractquarters
    subtractseconds subtractweeks subtractyears age date_diff datediff date_format date_trunc datetrunc
    datename day dayofmonth dayofweek dayofyear formatdatetime formatdatetimeinjodasyntax hour last_day
    makedate makedatetime makedatetime64 millisecond minute month monthname now now64 current_date
    current_timestamp quarter second timediff timeslot timeslots timestamp_diff timestampdiff timezoneof
    timezoneoffset totimezone today todayofmonth todayofweek todayofyear todaysinmonth tohour toisoweek
    toisoyear tolastdayofmonth tolastdayofweek tomillisecond tominute tomonday tomonth tomonthnumsinceepoch
    toquarter torelativedaynum torelativehournum torelativeminutenum torelativemonthnum torelativequarternum
    torelativesecondnum torelativeweeknum torelativeyearnum tosecond tostartofday tostartoffifteenminutes
    tostartoffiveminutes tostartofhour tostartofinterval tostartofisoyear tostartofminute tostartofmonth
    tostartofquarter tostartofsecond tostartofmillisecond tostartoftenminutes tostartofweek tostartofyear
    time_bucket date_bin toweek toyear toyearweek toyyyymm toyyyymmdd toyyyymmddhhmmss week year yearweek
    yesterday
    appendtrailingcharifabsent ascii base64decode base64encode base64urldecode base64urlencode char
    char_length character_length concat concat_ws concatwithseparator countmatches
    countmatchescaseinsensitive countsubstrings countsubstringscaseinsensitive crc32 editdistance endswith
    extract extractall extractallgroups extractallgroupshorizontal extractallgroupsvertical extractgroups
    format hastoken hastokencaseinsensitive hex unhex bin unbin ilike initcap initcaputf8 instr isvalidutf8
    lcase left leftpad leftpadutf8 leftutf8 length lengthutf8 levenshteindistance like locate lower lowerutf8
    lpad ltrim match mid multimatchany multimatchanyindex multisearchany multisearchanycaseinsensitive
    multisearchfirstindex ngramdistance normalizeutf8nfc notilike notlike position positioncaseinsensitive
    positionutf8 printf regexp_extract regexp_replace regexpextract regexpquotemeta repeat replace replaceall
    replaceone replaceregexpall replaceregexpone reverse reverseutf8 right rightpad rightpadutf8 rightutf8
    rpad rtrim space startswith startswithutf8 substr substring substring_index substringindex substringutf8
    tovalidutf8 translate translateutf8 trim trimboth trimleft trimright trybase64decode ucase upper
    upperutf8 empty notempty alphatokens array_to_string arraystringconcat ngrams splitbychar
    splitbynonalpha splitbyregexp splitbystring splitbywhitespace tokens
    isvalidjson json_array_length json_exists json_query json_value jsonarraylength jsonextract
    jsonextractarrayraw jsonextractbool jsonextractfloat jsonextractint jsonextractkeys
    jsonextractkeysandvalues jsonextractkeysandvaluesraw jsonextractraw jsonextractstring jsonextractuint
    jsonhas jsonkey jsonlength jsontype simplejsonextractbool simplejsonextractfloat simplejsonextractint
    simplejsonextractraw simplejsonextractstring simplejsonextractuint simplejsonhas tojsonstring
    visitparamextractbool visitparamextractfloat visitparamextractint visitparamextractraw
    visitparamextractstring visitparamextractuint visitparamhas
    cutfragment cutquerystring cutquerystringandfragment cuttofirstsignificantsubdomain cuturlparameter
    cutwww decodeurlcomponent decodeurlformcomponent domain domainwithoutwww encodeurlcomponent
    encodeurlformcomponent extracturlparameter extracturlparameternames extracturlparameters
    firstsignificantsubdomain fragment netloc path pathfull port protocol querystring
    querystringandfragment topleveldomain urlhierarchy urlpathhierarchy
    array arrayall arrayavg arraycompact arrayconcat arraycount arraycumsum arraycumsumnonnegative
    arraydifference arraydistinct arraydotproduct arrayelement arrayelementornull arrayenumerate
    arrayenumeratedense arrayenumerateuniq arrayexcept arrayexists arrayfill arrayfilter arrayfirst
    arrayfirstindex arrayfirstornull arrayflatten arrayfold arrayintersect arrayjoin arraylast arraylastindex
    arraylastornull arraymap arraymax arraymin arraypartialsort arraypopback arraypopfront arrayproduct
    arraypushback arraypushfront arrayremove arrayresize arrayreverse arrayreversefill arrayreversesort
    arrayreversesplit arrayshiftleft arrayshiftright arrayslice arraysort arraysplit arraysum arrayunion
    arrayuniq arraywithconstant arrayzip countequal flatten has hasall hasany hassubstr indexof range
    lambda map mapadd mapapply mapconcat mapcontains mapcontainskey mapexists mapfilter mapfromarrays mapkeys
    mapsort mapsubtract mapvalues tuple tupleconcat tupleelement untuple
    cityhash64 siphash64 siphash128 xxhash32 xxhash64 md5 sha1 sha256 sha512 inthash32 inthash64
    generateuuidv4 rand rand64 randcanonical toipv4 toipv4ornull toipv6 toipv6ornull ipv4numtostring
    ipv4stringtonum isipv4string isipv6string isipaddressinrange
    identity materialize totypename transform ignore grouping bar formatreadablesize formatreadablequantity
    formatreadabletimedelta rownumberinallblocks
"""
_AGGREGATE = """
    any any_value anyheavy anylast any_respect_nulls anylast_respect_nulls argmin argmax array_agg avg
    avgweighted corr count covarpop covarsamp covar_pop covar_samp deltasum deltasumtimestamp entropy
    exponentialmovingaverage first_value last_value grouparray grouparraylast grouparraymovingavg
    grouparraymovingsum grouparraysample grouparraysorted groupbitand groupbitor groupbitxor groupconcat
    group_concat groupuniqarray histogram intervallengthsum kurtpop kurtsamp max min max_by min_by median
    medianexact medianexactweighted mediantdigest quantile quantiles quantileexact quantilesexact
    quantileexactexclusive quantileexactinclusive quantilesexactexclusive quantilesexactinclusive
    quantileexacthigh quantileexactlow quantileexactweighted quantilesexactweighted quantiletdigest
    quantilestdigest quantiletdigestweighted quantiletiming quantilestiming retention sequencecount
    sequencematch simplelinearregression singlevalueornull skewpop skewsamp sparkbar stddevpop stddevsamp
    stddev_pop stddev_samp std string_agg sum sumcount sumkahan sumwithoverflow topk topkweighted uniq
    uniqcombined uniqcombined64 uniqexact uniqhll12 uniqupto varpop varsamp var_pop var_samp windowfunnel
    summap minmap maxmap
    cume_dist dense_rank denserank lag laginframe lead leadinframe nth_value ntile percent_rank percentrank
    rank row_number
"""
_COMBINATORS: Final = ("if", "array", "map", "distinct", "ordefault", "ornull", "foreach", "argmin", "argmax")

PLAIN: Final = frozenset(_PLAIN.split())
AGGREGATE: Final = frozenset(_AGGREGATE.split())


def is_permitted(name: str) -> bool:
    """Also of an aggregate function with combinators, such as `sumIf`."""
    name = name.lower()
    if name in PLAIN:
        return True
    while name not in AGGREGATE:
        suffix = next((suffix for suffix in _COMBINATORS if name.endswith(suffix)), None)
        if suffix is None:
            return False
        name = name.removesuffix(suffix)
    return True
